"""quantize_model(): the layers of a torch model take the weights that their codes mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch
from torch import nn

from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec, specification
from quant.layers.blocks import CalibrationData
from quant.layers.matrices import (
    QuantizedLayer,
    QuantizedLinear,
    linear_layers,
    matrix,
    with_codes,
)
from quant.methods.base import Method
from quant.models.load import check_finite
from quant.models.preflight import check_plan, name_of
from quant.models.texts import calibration_data
from quant.plan import Formats, Plan, assign, method_of
from quant.tensors.errors import poor_groups, poor_said
from quant.tensors.quantize import as_matrix
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True)
class LayerReport:
    """What quantization did to one layer: its codes, size, and squared error over the weight's.

    Attributes:
        tensor: Its codes.
        relative_error: Squared error over the squared weight.
        poor_groups: Groups whose relative error ``|Wq - W| / |W|`` is 0.5 or more.
        groups: All of them.
    """

    tensor: QuantizedTensor
    relative_error: float
    poor_groups: int = 0
    groups: int = 0

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
    def poor_groups(self) -> int:
        """Groups of all layers whose relative error ``|Wq - W| / |W|`` is 0.5 or more."""
        return sum(layer.poor_groups for layer in self.layers.values())

    @property
    def groups(self) -> int:
        """Groups of all layers."""
        return sum(layer.groups for layer in self.layers.values())

    @property
    def warning(self) -> str:
        """How many groups are poor, in a line; empty where none is."""
        return poor_said(self.poor_groups, self.groups)

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
                "groups": layer.groups,
                "poor_groups": layer.poor_groups,
            }
            for path, layer in self.layers.items()
        )


def quantize_model(
    model: nn.Module,
    formats: Formats,
    *,
    group_size: int | None = None,
    scale: str | ScaleKind | None = None,
    method: str | Method = "",
    calibration: CalibrationData | None = None,
) -> QuantizationReport:
    """Replace linear layers and convolutions by layers of codes, in place.

    Args:
        model: Any torch model, of any floating-point type.
        formats: One format for every layer but the head, a mapping from module paths or patterns
            (``{"*": "bitmod4", "lm_head": "int8"}``), or a Plan. fp16, bf16 and fp32 leave alone.
        group_size: Overrides the formats' group sizes.
        scale: Overrides the formats' scales.
        method: How weights are rounded (``quant.methods.registry.METHODS``); empty: the plan's,
            else ``rtn``, round to nearest. Methods that look at blocks round layers outside of
            them, such as the head, to nearest.
        calibration: Token ids ``[n]``, or a sequence of batches (tensors, or mappings of the
            model's arguments), for the methods that need them.

    Raises:
        RequestError: an unknown format, layer or method, a format that the method does not take, a
            method without its calibration, a layer that is quantized already, a plan of another
            model, or a parameter with NaN or Inf (named); nothing is changed then.
    """
    layers = linear_layers(arguments.one_of("model", model, nn.Module, "a torch module"))
    chosen = method_of(formats, method)
    seen = None if calibration is None else calibration_data("calibration", calibration)
    if chosen.needs_calibration and seen is None:
        raise RequestError(f"method {chosen.name!r} needs calibration=: tokens or batches")
    assigned = assign(formats, layers)
    if isinstance(formats, Plan):
        check_plan(formats, name_of(model))
    specs = {
        path: specification(spec, group_size, scale)
        for path, spec in assigned.items()
        if not spec.format.is_plain
    }
    _check_layers(layers, specs)
    for path in chosen.covered(model, specs, seen):
        _named(path, chosen.check_format, specs[path])
    for path in specs:
        check_weight(path, layers[path])
    check_finite(type(model).__name__, model)
    reports = {}
    for path, tensor in chosen.run(model, specs, seen):
        reports[path] = _put(model, path, tensor)
    return QuantizationReport(reports, *_rest(model))


@contextmanager
def quantized(
    model: nn.Module,
    formats: Formats,
    *,
    method: str | Method = "",
    calibration: CalibrationData | None = None,
) -> Iterator[QuantizationReport]:
    """Quantize a model for the length of a block; afterwards it is as it was."""
    arguments.one_of("model", model, nn.Module, "a torch module")
    before, values = linear_layers(model), {}
    if method_of(formats, method).changes_other_parameters:
        values = {name: value.detach().clone() for name, value in _values(model).items()}
    try:
        yield quantize_model(model, formats, method=method, calibration=calibration)
    finally:
        for path, layer in before.items():
            model.set_submodule(path, layer)
        present = _values(model)
        with torch.no_grad():
            for name, value in values.items():
                present[name].copy_(value)


@contextmanager
def replaced(model: nn.Module, tensors: Mapping[str, QuantizedTensor]) -> Iterator[None]:
    """Give layers the weights of these codes for the length of a block."""
    before = linear_layers(model)
    for path, tensor in tensors.items():
        model.set_submodule(path, with_codes(before[path], tensor))
    try:
        yield
    finally:
        for path in tensors:
            model.set_submodule(path, before[path])


def check_weight(path: str, layer: nn.Module) -> None:
    """Raise a RequestError that names a layer's first weight that is no finite number."""
    _named(path, lambda of: as_matrix(matrix(of)), layer)


def _check_layers(layers: Mapping[str, nn.Module], specs: Mapping[str, FormatSpec]) -> None:
    """Refuse layers that are quantized already or have no real weights, before any is read."""
    for path in specs:
        layer = layers[path]
        if isinstance(layer, QuantizedLayer):
            raise RequestError(
                f"layer {path} is quantized already ({layer.tensor.spec}): load the model again"
            )
        weight = layer.weight
        if isinstance(weight, torch.Tensor) and not weight.is_floating_point():
            raise RequestError(f"layer {path}: its weight is {weight.dtype}: floats are needed")


def _named(path: str, check: Callable[[T], object], value: T) -> None:
    """Run a check, and name the layer in its error."""
    try:
        check(value)
    except RequestError as error:
        raise type(error)(f"layer {path}: {error}") from None


def _put(model: nn.Module, path: str, tensor: QuantizedTensor) -> LayerReport:
    """Let a layer compute with its codes, and report what they did to it."""
    layer = model.get_submodule(path)
    weight = matrix(layer)
    if tensor.shape != weight.shape:
        raise RequestError(f"layer {path}: codes of {tensor.shape} for a weight of {weight.shape}")
    rounded = tensor.dequantize()
    poor, groups = poor_groups(weight, rounded, tensor.spec)
    difference = rounded - weight
    power = max(float(np.vdot(weight, weight)), 1e-300)
    model.set_submodule(path, with_codes(layer, tensor))
    error = float(np.vdot(difference, difference)) / power
    return LayerReport(tensor, error, poor, groups)


def _values(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name; shared ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _rest(model: nn.Module) -> tuple[int, int]:
    """Bits and count of the parameters outside the quantized layers; shared ones count once."""
    parameters = list(model.parameters())
    bits = sum(p.numel() * p.element_size() * 8 for p in parameters)
    return bits, sum(p.numel() for p in parameters)


__all__ = ["QuantizationReport", "QuantizedLinear", "linear_layers", "quantize_model", "quantized"]
