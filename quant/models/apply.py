"""quantize_model(): the layers of a torch model take the weights that their codes mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
import torch
from torch import nn

from quant.checkpoints.unused import NOTE, unused_of
from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec, specification
from quant.layers.blocks import CalibrationData
from quant.layers.coded import keep_decoded
from quant.layers.coverage import kept_of
from quant.layers.forwards import check_unchanging
from quant.layers.matrices import QuantizedLinear, linear_layers
from quant.layers.notes import gathered
from quant.layers.weights import TIED, Weight, configs, inventory, put, weights
from quant.methods.base import Method
from quant.models.load import check_finite
from quant.models.preflight import check_plan, name_of
from quant.models.report import LayerReport, QuantizationReport
from quant.models.texts import calibration_data, check_vocabulary
from quant.plan import NOTHING, Formats, Plan, assign, method_of
from quant.tensors.errors import poor_groups
from quant.tensors.quantize import as_matrix
from quant.tensors.tensor import QuantizedTensor

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
"""Data types of weights that are not quantized."""
T = TypeVar("T")


def quantize_model(
    model: nn.Module,
    formats: Formats,
    *,
    group_size: int | None = None,
    scale: str | ScaleKind | None = None,
    method: str | Method = "",
    calibration: CalibrationData | None = None,
    decode: bool = False,
    ignore: Sequence[str] = (),
    only: Callable[[str, nn.Module], bool] | None = None,
) -> QuantizationReport:
    """Give the matrices of a model codes in place of values: linear layers, convolutions, experts.

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
        decode: Also hold the values that the codes mean, which takes the memory of the unquantized
            model; else they are decoded at every use.
        ignore: Paths or patterns of matrices that stay as they are.
        only: Asked for each matrix with its path and its module: False leaves it as it is.

    Raises:
        RequestError: an unknown format, layer or method, a format that the method does not take, a
            method without its calibration, a layer that is quantized already, a plan of another
            model, or a parameter with NaN or Inf (named); nothing is changed then.
    """
    found = inventory(arguments.one_of("model", model, nn.Module, "a torch module"))
    check_unchanging(model)
    kinds = {path: type(weight.module).__name__ for path, weight in found.weights.items()}
    chosen = method_of(formats, method).for_model(kinds)
    seen = None if calibration is None else calibration_data("calibration", calibration)
    if chosen.needs_calibration and seen is None:
        raise RequestError(f"method {chosen.name!r} needs calibration=: tokens or batches")
    check_vocabulary(model, seen)
    decode = arguments.flag("decode", decode)
    patterns = arguments.several("ignore", ignore, arguments.text)
    assigned = assign(formats, found.weights, found.apart, ignore=patterns, kinds=kinds)
    if only is not None:
        modules = {path: found.weights[path].module for path in assigned}
        assigned = {path: assigned[path] for path in _asked(only, modules)}
    if not assigned:
        raise RequestError(NOTHING)
    if isinstance(formats, Plan):
        check_plan(formats, name_of(model))
    specs = {
        path: specification(spec, group_size, scale)
        for path, spec in assigned.items()
        if not spec.format.is_plain
    }
    _check_layers(found.weights, specs)
    for path in chosen.covered(model, specs, seen):
        _named(path, chosen.of(path).check_format, specs[path])
    for path in specs:
        check_weight(path, found.weights[path])
    check_finite(type(model).__name__, model)
    reports = {}
    with gathered() as notes:
        for path, tensor in chosen.run(model, specs, seen):
            reports[path] = _put(model, found.weights[path], tensor)
    if decode:
        keep_decoded(model)
    notes |= dict.fromkeys(unused_of(model), NOTE)
    return QuantizationReport(reports, kept_of(found, reports), notes)


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
    also = method_of(formats, method).changes_other_parameters
    with restored(model, values=also):
        yield quantize_model(model, formats, method=method, calibration=calibration, decode=True)


@contextmanager
def replaced(model: nn.Module, tensors: Mapping[str, QuantizedTensor]) -> Iterator[None]:
    """Give matrices the values of these codes for the length of a block."""
    known = weights(model)
    with restored(model):
        for path, tensor in tensors.items():
            put(model, known[path], tensor)
        keep_decoded(model)
        yield


@contextmanager
def restored(model: nn.Module, *, values: bool = False) -> Iterator[None]:
    """Put back, after a block, the modules and parameters that a model has before it.

    Args:
        model: The model.
        values: Whether the values of parameters may change too.
    """
    kept = {k: v.detach().clone() for k, v in _values(model).items()} if values else {}
    places = [owner for weight in weights(model).values() for owner in weight.owners]
    before = [(path, module, name, module._parameters[name]) for path, module, name in places]
    tied = [config for config in configs(model) if getattr(config, TIED, False)]
    try:
        yield
    finally:
        for path, module, name, parameter in before:
            if path and model.get_submodule(path) is not module:
                model.set_submodule(path, module)
            module._parameters[name] = parameter
        for config in tied:
            setattr(config, TIED, True)
        present = _values(model)
        with torch.no_grad():
            for name, value in kept.items():
                present[name].copy_(value)


def _asked(only: Callable[[str, nn.Module], bool], modules: Mapping[str, nn.Module]) -> list[str]:
    """The paths for which a function of the user's says yes."""
    if not callable(only):
        raise arguments.wrong_type("only", only, "a function of a path and a module")
    try:
        return [path for path, module in modules.items() if only(path, module)]
    except Exception as error:  # whatever the user's function raises
        raise RequestError(f"only: it failed: {type(error).__name__}: {error}") from error


def check_weight(path: str, weight: Weight) -> None:
    """Raise a RequestError that names a matrix's first weight that is no finite number."""
    _named(path, lambda of: as_matrix(of.matrix()), weight)


def _check_layers(known: Mapping[str, Weight], specs: Mapping[str, FormatSpec]) -> None:
    """Refuse matrices that are quantized already or hold no real weights, before any is read."""
    for path in specs:
        if (tensor := known[path].tensor) is not None:
            raise RequestError(
                f"layer {path} is quantized already ({tensor.spec}): load the model again"
            )
        kind = known[path].parameter.dtype
        if kind not in FLOATS:
            raise RequestError(
                f"layer {path}: its weight is {kind}: float32, bfloat16, float16 or float64 is "
                "needed (codes of a format must be decoded first)"
            )


def _named(path: str, check: Callable[[T], object], value: T) -> None:
    """Run a check, and name the layer in its error."""
    try:
        check(value)
    except RequestError as error:
        raise type(error)(f"layer {path}: {error}") from None


def _put(model: nn.Module, known: Weight, tensor: QuantizedTensor) -> LayerReport:
    """Let a matrix be its codes, and report what they did to it."""
    weight = known.matrix()
    if tensor.shape != weight.shape:
        raise RequestError(
            f"layer {known.path}: codes of {tensor.shape} for a weight of {weight.shape}"
        )
    rounded = tensor.dequantize()
    poor, groups = poor_groups(weight, rounded, tensor.spec)
    difference = rounded - weight
    power = max(float(np.vdot(weight, weight)), 1e-300)
    put(model, known, tensor)
    error = float(np.vdot(difference, difference)) / power
    return LayerReport(tensor, error, poor, groups)


def _values(model: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and buffers by name; shared ones once."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


__all__ = ["QuantizationReport", "QuantizedLinear", "linear_layers", "quantize_model", "quantized"]
