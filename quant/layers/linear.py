"""QuantizedLinear: a plain linear layer that computes with codes."""

from __future__ import annotations

from typing import cast

import torch
from torch import nn

from quant.common import arguments
from quant.common.errors import RequestError
from quant.layers.coded import CodedWeight
from quant.layers.layout import Layout
from quant.tensors.tensor import QuantizedTensor


class QuantizedLinear(nn.Module):
    """A linear layer with quantized weights.

    ``weight`` is a ``CodedWeight``: torch takes it for the dequantized weight ``[out, in]`` in the
    layer's data type; ``tensor`` is what the checkpoint, the simulator and the RTL use.
    """

    weight: CodedWeight
    bias: torch.Tensor | None
    is_quantized_linear = True

    def __init__(
        self, tensor: QuantizedTensor, bias: torch.Tensor | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        arguments.one_of("tensor", tensor, QuantizedTensor, "a QuantizedTensor")
        arguments.one_of("dtype", dtype, torch.dtype, "a torch.dtype")
        if bias is not None:
            arguments.one_of("bias", bias, torch.Tensor, "a tensor or None")
        coded = CodedWeight([tensor], Layout(tensor.shape), dtype)
        self.register_parameter("weight", coded)  # type: ignore[arg-type]  # torch takes it for one
        # A bias that is a parameter may have other places in the model too: it stays the same one.
        if bias is not None and not isinstance(bias, nn.Parameter):
            bias = nn.Parameter(bias.detach(), requires_grad=False)
        self.register_parameter("bias", bias)
        self.out_features, self.in_features = tensor.shape

    def __setattr__(self, name: str, value: torch.Tensor | nn.Module) -> None:
        """Refuse values in place of the codes: tying weights again would lose them in silence.

        Raises:
            RequestError: such values.
        """
        if name == "weight" and not isinstance(value, CodedWeight):
            raise RequestError(
                "a quantized weight takes no other values (tie_weights, resize_token_embeddings): "
                "change the model first, then quantize it"
            )
        super().__setattr__(name, value)

    @property
    def tensor(self) -> QuantizedTensor:
        """The codes."""
        (part,) = self.weight.parts
        assert isinstance(part, QuantizedTensor)
        return part

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return ``inputs @ weight.T + bias``."""
        return nn.functional.linear(inputs, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Its sizes and format, for printing."""
        return f"in_features={self.in_features}, out_features={self.out_features}, {self.weight!r}"


def replacement(module: nn.Module, coded: CodedWeight) -> nn.Module:
    """Return what computes with codes in place of a module: itself, unless it is a plain one."""
    (part, *_) = coded.parts
    if type(module) is not nn.Linear or isinstance(part, torch.Tensor):
        return module
    made = QuantizedLinear(part, module.bias, coded.dtype)
    made.register_parameter("weight", cast("nn.Parameter", coded))  # which others may share
    return made.train(module.training)
