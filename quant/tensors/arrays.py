"""The arrays of a QuantizedTensor: which shape and type each has, and whether given ones fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quant.common.errors import RequestError
from quant.formats.elements import IntType
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import QuantizedTensor, fault_of


def parts(tensor: QuantizedTensor) -> dict[str, np.ndarray]:
    """Return the arrays that a tensor has, contiguous, by name."""
    return {part: np.ascontiguousarray(array) for part, array in tensor.arrays.items()}


def check_parts(
    path: str, spec: FormatSpec, shape: tuple[int, int], arrays: Mapping[str, np.ndarray]
) -> None:
    """Raise a RequestError unless the arrays of a layer fit its format.

    Each has the shape and type of ``FormatSpec.arrays``, selectors name a candidate, zero points
    are codes, scales and codebooks are finite.
    """
    if spec.format.is_plain or min(shape) < 1:
        raise RequestError(f"layer {path}: format {spec}, shape {shape}: nothing quantized")
    if fault := fault_of(spec, shape, arrays):
        raise RequestError(f"layer {path}: {fault}")
    _check_values(path, spec, arrays)


def _check_values(path: str, spec: FormatSpec, arrays: Mapping[str, np.ndarray]) -> None:
    limits = {"selectors": spec.format.candidates - 1}
    if isinstance(spec.format.element, IntType):
        limits["zero_points"] = spec.format.element.maximum
    for part, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RequestError(f"layer {path}: {part} holds NaN or Inf: only finite values")
        most = limits.get(part)
        if most is not None and array.dtype == np.uint8 and int(array.max()) > most:
            raise RequestError(f"layer {path}: {part} {array.max()} is not allowed: 0 to {most}")
    numbers = spec.scale.is_number(arrays["scales"])
    if not numbers.all():
        code = arrays["scales"][~numbers][0]
        raise RequestError(f"layer {path}: scale code {code} is NaN: only finite values")
