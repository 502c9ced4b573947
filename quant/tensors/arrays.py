"""The arrays of a QuantizedTensor: which shape and type each has, and whether given ones fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quant.common.errors import RequestError
from quant.formats.elements import IntType
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import PARTS, QuantizedTensor

_SCALE_TYPES = {"fp16": "float16", "fp32": "float32"}
_E8M0_NAN = 255


def parts(tensor: QuantizedTensor) -> dict[str, np.ndarray]:
    """Return the arrays that a tensor has, contiguous, by the names of ``PARTS``."""
    values = {part: getattr(tensor, part) for part in PARTS}
    return {part: np.ascontiguousarray(v) for part, v in values.items() if v is not None}


def expected_parts(
    spec: FormatSpec, shape: tuple[int, int]
) -> dict[str, tuple[tuple[int, ...], str]]:
    """Return the shape and numpy type of every array that a tensor of a format has.

    Args:
        spec: The format; not a plain one.
        shape: ``(out, in)``.
    """
    (rows, columns), entry = shape, spec.format
    groups = (rows, spec.groups(columns))
    wanted: dict[str, tuple[tuple[int, ...], str]] = {
        "codes": ((rows, -(-columns * entry.element_bits // 8)), "uint8"),
        "scales": (groups, _SCALE_TYPES.get(spec.scale, "uint8")),
    }
    if entry.layout == "codebook":
        wanted["scales"] = ((rows, 0), "float16")
        wanted["codebooks"] = ((rows, 2**entry.element_bits), "float16")
    elif entry.layout == "hif4":
        wanted["micro_exponents"] = ((*groups, 3), "uint8")
    elif spec.scale == "int8":
        wanted["row_scales"] = ((rows,), "float16")
    # Pairs have one scale a row: no second level over them.
    if spec.has_tensor_scale and entry.layout == "grid":
        wanted["tensor_scale"] = ((1,), "float32")
    if entry.candidates > 1:
        wanted["selectors"] = ((1, 1) if entry.selection == "tensor" else groups, "uint8")
    if entry.is_asymmetric:
        wanted["zero_points"] = (groups, "float16" if spec.zero_point_bits == 16 else "uint8")
    return wanted


def check_parts(
    path: str, spec: FormatSpec, shape: tuple[int, int], arrays: Mapping[str, np.ndarray]
) -> None:
    """Raise a RequestError unless the arrays of a layer fit its format.

    Each has the shape and type of ``expected_parts``, selectors name a candidate, zero points are
    codes, scales and codebooks are finite.
    """
    if spec.format.is_plain or min(shape) < 1:
        raise RequestError(f"layer {path}: format {spec}, shape {shape}: nothing quantized")
    wanted = expected_parts(spec, shape)
    for part in PARTS:
        found = arrays.get(part)
        has = None if found is None else found.shape
        size, kind = wanted.get(part, (None, ""))
        if has != size:
            raise RequestError(f"layer {path}: {part} has shape {has}, {size} is needed")
        if found is not None and found.dtype != kind:
            raise RequestError(f"layer {path}: {part} is {found.dtype}, {kind} is needed")
    limits = {"selectors": spec.format.candidates - 1}
    if isinstance(spec.format.element, IntType):
        limits["zero_points"] = spec.format.element.maximum
    for part, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise RequestError(f"layer {path}: {part} holds NaN or Inf: only finite values")
        most = limits.get(part)
        if most is not None and array.dtype == np.uint8 and int(array.max()) > most:
            raise RequestError(f"layer {path}: {part} {array.max()} is not allowed: 0 to {most}")
    if spec.scale == "e8m0" and (arrays["scales"] == _E8M0_NAN).any():
        raise RequestError(f"layer {path}: scale code {_E8M0_NAN} is NaN: only finite values")
