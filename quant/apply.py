"""quantize_model(): the linear layers of a torch model take the weights that their codes mean."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from quant.common.errors import RequestError
from quant.common.progress import track
from quant.plan import Plan, assign
from quant.quantize import quantize
from quant.spec import FormatSpec, parse_spec
from quant.tensor import QuantizedTensor

if TYPE_CHECKING:
    import pandas as pd


class QuantizedLinear(nn.Module):
    """A linear layer whose weight is a QuantizedTensor.

    ``weight`` is the dequantized weight in the layer's data type, derived from ``tensor`` and not
    saved; ``tensor`` is what the checkpoint, the simulator and the RTL use.
    """

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self, tensor: QuantizedTensor, bias: torch.Tensor | None, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.tensor = tensor
        weight = torch.from_numpy(tensor.dequantize()).to(dtype)
        self.register_buffer("weight", weight, persistent=False)
        own = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.register_parameter("bias", own)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return ``inputs @ weight.T + bias``."""
        return nn.functional.linear(inputs, self.weight, self.bias)


@dataclass(frozen=True)
class LayerReport:
    """What quantization did to one layer: its codes, size, and squared error over the weight's."""

    tensor: QuantizedTensor
    relative_error: float

    @property
    def weights(self) -> int:
        """How many weights it has."""
        return self.tensor.shape[0] * self.tensor.shape[1]


@dataclass(frozen=True)
class QuantizationReport:
    """What ``quantize_model`` did, by module path.

    Attributes:
        layers: The quantized layers.
        other_bits: Stored bits of everything else (embeddings, norms, layers left alone).
        other_weights: How many numbers those are.
    """

    layers: dict[str, LayerReport]
    other_bits: int
    other_weights: int

    @property
    def tensors(self) -> dict[str, QuantizedTensor]:
        """The codes of each layer."""
        return {path: layer.tensor for path, layer in self.layers.items()}

    @property
    def effective_bits(self) -> float:
        """Stored bits per weight over the quantized layers."""
        bits = sum(layer.tensor.storage_bits for layer in self.layers.values())
        return bits / max(1, sum(layer.weights for layer in self.layers.values()))

    @property
    def whole_model_bits(self) -> float:
        """Stored bits per weight over the whole model, embeddings and head included."""
        bits = sum(layer.tensor.storage_bits for layer in self.layers.values())
        weights = sum(layer.weights for layer in self.layers.values())
        return (bits + self.other_bits) / max(1, weights + self.other_weights)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a layer."""
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": path,
                "format": str(layer.tensor.spec),
                "weights": layer.weights,
                "effective_bits": layer.tensor.effective_bits,
                "relative_error": layer.relative_error,
            }
            for path, layer in self.layers.items()
        )


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the linear layers by module path, in the model's order."""
    kinds = (nn.Linear, QuantizedLinear)
    return {path: module for path, module in model.named_modules() if isinstance(module, kinds)}


def quantize_model(
    model: nn.Module,
    formats: str | Mapping[str, str] | Plan,
    *,
    group_size: int | None = None,
    scale: str | None = None,
    method: str = "rtn",
) -> QuantizationReport:
    """Replace linear layers by QuantizedLinear, in place.

    Args:
        model: Any torch model with ``nn.Linear`` layers, of any floating-point type.
        formats: One format for every layer but the head, a mapping from module paths or patterns
            (``{"*": "bitmod4", "lm_head": "int8"}``), or a Plan. fp16, bf16 and fp32 leave alone.
        group_size: Overrides the formats' group sizes.
        scale: Overrides the formats' scales.
        method: ``rtn``, round to nearest.

    Raises:
        RequestError: an unknown format, layer or method, or a weight with NaN or Inf (named).
    """
    if method != "rtn":
        raise RequestError(f"unknown method {method!r} (known: rtn)")
    layers = linear_layers(model)
    chosen = assign(formats, layers)
    reports = {}
    for path, text in track(chosen.items(), "quantizing", len(chosen)):
        spec = parse_spec(text)
        if spec.format.is_plain:
            continue
        layer = layers[path]
        assert isinstance(layer.weight, torch.Tensor)
        reports[path] = _quantize_layer(path, layer.weight, spec, group_size, scale)
        bias = layer.bias if isinstance(layer.bias, torch.Tensor) else None
        new = QuantizedLinear(reports[path].tensor, bias, layer.weight.dtype)
        model.set_submodule(path, new)
    return QuantizationReport(reports, *_rest(model))


@contextmanager
def quantized(
    model: nn.Module, formats: str | Mapping[str, str] | Plan
) -> Iterator[QuantizationReport]:
    """Quantize a model for the length of a block; afterwards it has its own layers again."""
    before = linear_layers(model)
    report = quantize_model(model, formats)
    try:
        yield report
    finally:
        for path in report.layers:
            model.set_submodule(path, before[path])


@contextmanager
def replaced(model: nn.Module, tensors: Mapping[str, QuantizedTensor]) -> Iterator[None]:
    """Give layers the weights of these codes for the length of a block."""
    before = linear_layers(model)
    for path, tensor in tensors.items():
        layer = before[path]
        assert isinstance(layer.weight, torch.Tensor)
        bias = layer.bias if isinstance(layer.bias, torch.Tensor) else None
        model.set_submodule(path, QuantizedLinear(tensor, bias, layer.weight.dtype))
    try:
        yield
    finally:
        for path in tensors:
            model.set_submodule(path, before[path])


def _quantize_layer(
    path: str, weight: torch.Tensor, spec: FormatSpec, group_size: int | None, scale: str | None
) -> LayerReport:
    values = weight.detach().float().cpu().numpy()
    try:
        tensor = quantize(values, spec, group_size=group_size, scale=scale)
    except RequestError as error:
        raise RequestError(f"layer {path}: {error}") from None
    difference = tensor.dequantize() - values
    power = max(float(np.vdot(values, values)), 1e-300)
    return LayerReport(tensor, float(np.vdot(difference, difference)) / power)


def _rest(model: nn.Module) -> tuple[int, int]:
    """Bits and count of the parameters outside the quantized layers; shared ones count once."""
    parameters = list(model.parameters())
    bits = sum(p.numel() * p.element_size() * 8 for p in parameters)
    return bits, sum(p.numel() for p in parameters)
