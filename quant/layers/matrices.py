"""Layers with quantized weights, and how a layer's weight is a matrix."""

from __future__ import annotations

import torch
from torch import nn

from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.tensors.tensor import QuantizedTensor


class QuantizedLayer(nn.Module):
    """A layer whose weight is a QuantizedTensor.

    ``weight`` is the dequantized weight in the layer's data type, derived from ``tensor`` and not
    saved; ``tensor`` is what the checkpoint, the simulator and the RTL use.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self, tensor: QuantizedTensor, bias: torch.Tensor | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.tensor = arguments.one_of("tensor", tensor, QuantizedTensor, "a QuantizedTensor")
        arguments.one_of("dtype", dtype, torch.dtype, "a torch.dtype")
        if bias is not None:
            arguments.one_of("bias", bias, torch.Tensor, "a tensor or None")
        weight = torch.from_numpy(tensor.dequantize()).to(dtype)
        self.register_buffer("weight", self.shaped(weight), persistent=False)
        own = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.register_parameter("bias", own)

    def shaped(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the matrix in the shape that the layer computes with."""
        return weight


class QuantizedLinear(QuantizedLayer):
    """A linear layer (or a transformers Conv1D, its transpose) with quantized weights."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return ``inputs @ weight.T + bias``."""
        return nn.functional.linear(inputs, self.weight, self.bias)


class QuantizedConv2d(QuantizedLayer):
    """A convolution with quantized weights, its matrix ``[out, in*kh*kw]``."""

    def __init__(self, tensor: QuantizedTensor, layer: nn.Conv2d) -> None:
        self.shape = tuple(layer.weight.shape)
        super().__init__(tensor, layer.bias, layer.weight.dtype)
        self.settings = (layer.stride, layer.padding, layer.dilation, layer.groups)
        self.original = [layer]  # in a list: no submodule; padding modes and subclasses keep theirs

    def shaped(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the kernel ``[out, in, kh, kw]``."""
        return weight.view(self.shape)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Convolve, as the layer that it replaces does."""
        values = {"weight": self.weight} | ({} if self.bias is None else {"bias": self.bias})
        result: torch.Tensor = torch.func.functional_call(self.original[0], values, (inputs,))
        return result


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the layers with a weight matrix by module path: linear ones and convolutions."""
    return {path: module for path, module in model.named_modules() if _is_layer(module)}


def matrix(layer: nn.Module) -> F32:
    """Return a copy of a layer's weight as ``[out, in]`` float32.

    Raises:
        RequestError: it is on the meta device.
    """
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    if weight.device.type == "meta":
        raise RequestError("its weight is on the meta device: load the model first")
    values = weight.detach().float().cpu().reshape(weight.shape[0], -1)
    own: F32 = (values.T if is_transposed(layer) else values).contiguous().numpy()
    return own.copy()


def set_matrix(layer: nn.Module, values: F32) -> None:
    """Give a layer another weight, in place."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    tensor = torch.from_numpy(values)
    tensor = tensor.T if is_transposed(layer) else tensor.reshape(weight.shape)
    with torch.no_grad():
        weight.copy_(tensor)


def with_codes(layer: nn.Module, tensor: QuantizedTensor) -> QuantizedLayer:
    """Return the layer that computes with these codes in place of ``layer``."""
    if isinstance(layer, QuantizedConv2d):
        layer = layer.original[0]
    if isinstance(layer, nn.Conv2d):
        return QuantizedConv2d(tensor, layer)
    bias = layer.bias if isinstance(layer.bias, torch.Tensor) else None
    assert isinstance(layer.weight, torch.Tensor)
    return QuantizedLinear(tensor, bias, layer.weight.dtype)


def columns(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """Return what the rows of a layer's matrix are multiplied with, ``[n, in]`` float32.

    For grouped convolutions the columns of all groups, one after the other.
    """
    if isinstance(layer, QuantizedConv2d):
        layer = layer.original[0]
    if not isinstance(layer, nn.Conv2d):
        return inputs.detach().reshape(-1, inputs.shape[-1]).float()
    padding = layer.padding if isinstance(layer.padding, tuple) else (0, 0)
    kernel = tuple(layer.kernel_size)
    patches = nn.functional.unfold(
        inputs.detach().float(), kernel, layer.dilation, padding, layer.stride
    )
    return patches.transpose(1, 2).reshape(-1, layer.weight[0].numel())


def as_weight(layer: nn.Module, values: torch.Tensor) -> torch.Tensor:
    """Return a matrix ``[out, in]`` in the shape and type of the layer's own weight."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return (values.T if is_transposed(layer) else values.reshape(weight.shape)).to(weight.dtype)


def _is_layer(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear | nn.Conv2d | QuantizedLayer) or is_transposed(module)


def is_transposed(module: nn.Module) -> bool:
    """Whether it is transformers' Conv1D (GPT-2), whose weight is ``[in, out]``."""
    kind = type(module)
    return kind.__name__ == "Conv1D" and kind.__module__ == "transformers.pytorch_utils"
