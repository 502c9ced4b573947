"""quantize_model(): the layers of a torch model take the weights that their codes mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from quant.common.errors import RequestError
from quant.common.progress import track
from quant.formats.elements import F32
from quant.formats.spec import FormatSpec, parse_spec
from quant.layers.blocks import blocks, statistics
from quant.layers.matrices import QuantizedLinear, linear_layers, matrix, with_codes
from quant.layers.statistics import LayerStatistics
from quant.methods.base import Method
from quant.methods.registry import get_method, implementation
from quant.plan import Plan, assign
from quant.tensors.quantize import as_matrix, quantize, specification
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import pandas as pd


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


def quantize_model(
    model: nn.Module,
    formats: str | Mapping[str, str] | Plan,
    *,
    group_size: int | None = None,
    scale: str | None = None,
    method: str = "",
    calibration: Any = None,  # noqa: ANN401  tokens or batches
) -> QuantizationReport:
    """Replace linear layers and convolutions by layers of codes, in place.

    Args:
        model: Any torch model, of any floating-point type.
        formats: One format for every layer but the head, a mapping from module paths or patterns
            (``{"*": "bitmod4", "lm_head": "int8"}``), or a Plan. fp16, bf16 and fp32 leave alone.
        group_size: Overrides the formats' group sizes.
        scale: Overrides the formats' scales.
        method: How weights are rounded (``quant.methods.METHODS``); empty: the plan's, else
            ``rtn``, round to nearest. Methods that look at blocks round layers outside of them,
            such as the head, to nearest.
        calibration: Token ids ``[n]``, or a sequence of batches (tensors, or mappings of the
            model's arguments), for the methods that need them.

    Raises:
        RequestError: an unknown format, layer or method, a method without its calibration, or a
            weight with NaN or Inf (named).
    """
    named = method or (formats.method if isinstance(formats, Plan) else "rtn")
    entry = get_method(named)
    if entry.calibration == "required" and calibration is None:
        raise RequestError(f"method {named!r} needs calibration=: tokens or batches of inputs")
    layers = linear_layers(model)
    specs = {}
    for path, text in assign(formats, layers).items():
        spec = parse_spec(text)
        if not spec.format.is_plain:
            specs[path] = specification(spec, group_size, scale)
            check_weight(path, layers[path])
    run = _Run(model, specs, implementation(entry).quantize, {})
    if entry.scope == "model":
        for path, tensor in run.rounding(model, layers, specs, calibration).items():
            run.put(path, tensor)
    elif calibration is None or entry.calibration == "none":
        for path in track(specs, f"quantizing ({named})", len(specs)):
            run.one(path, None)
    else:
        run.by_blocks(entry, calibration)
    return QuantizationReport(run.reports, *_rest(model))


@contextmanager
def quantized(
    model: nn.Module,
    formats: str | Mapping[str, str] | Plan,
    *,
    method: str = "",
    calibration: Any = None,  # noqa: ANN401  as above
) -> Iterator[QuantizationReport]:
    """Quantize a model for the length of a block; afterwards it is as it was."""
    before = linear_layers(model)
    named = method or (formats.method if isinstance(formats, Plan) else "rtn")
    changed = get_method(named).scope == "block"
    values = {n: p.detach().clone() for n, p in model.named_parameters()} if changed else {}
    try:
        report = quantize_model(model, formats, method=method, calibration=calibration)
        yield report
    finally:
        for path, layer in before.items():
            model.set_submodule(path, layer)
        with torch.no_grad():
            for name, value in values.items():
                model.get_parameter(name).copy_(value)


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
    try:
        as_matrix(matrix(layer))
    except RequestError as error:
        raise RequestError(f"layer {path}: {error}") from None


@dataclass
class _Run:
    """One run over a model: what is done so far."""

    model: nn.Module
    specs: dict[str, FormatSpec]
    rounding: Callable[..., Any]
    reports: dict[str, LayerReport]

    def by_blocks(self, entry: Method, calibration: Any) -> None:  # noqa: ANN401  as above
        """Go through the model block by block; the next block sees what quantized ones give."""
        references = entry.name == "omniquant"
        for block in blocks(self.model, calibration, references=references):
            paths = [path for path in block.layers if path in self.specs]
            if entry.scope == "block" and paths:
                chosen = {path: self.specs[path] for path in paths}
                for path, tensor in self.rounding(block, chosen).items():
                    self.put(path, tensor)
            elif paths:
                known = statistics(block, paths)
                for path in paths:
                    self.one(path, known.pop(path))
        for path in self.specs.keys() - self.reports.keys():
            self.put(path, quantize(self._matrix(path), self.specs[path]))

    def one(self, path: str, known: LayerStatistics | None) -> None:
        """Round one layer by itself."""
        try:
            tensor = self.rounding(self._matrix(path), self.specs[path], known)
        except RequestError as error:
            raise RequestError(f"layer {path}: {error}") from None
        self.put(path, tensor)

    def put(self, path: str, tensor: QuantizedTensor) -> None:
        """Report a layer and let the model compute with its codes."""
        values = self._matrix(path)
        difference = tensor.dequantize() - values
        power = max(float(np.vdot(values, values)), 1e-300)
        self.reports[path] = LayerReport(tensor, float(np.vdot(difference, difference)) / power)
        self.model.set_submodule(path, with_codes(self.model.get_submodule(path), tensor))

    def _matrix(self, path: str) -> F32:
        return matrix(self.model.get_submodule(path))


def _rest(model: nn.Module) -> tuple[int, int]:
    """Bits and count of the parameters outside the quantized layers; shared ones count once."""
    parameters = list(model.parameters())
    bits = sum(p.numel() * p.element_size() * 8 for p in parameters)
    return bits, sum(p.numel() for p in parameters)


__all__ = ["QuantizationReport", "QuantizedLinear", "linear_layers", "quantize_model", "quantized"]
