"""microxcaling @7bc4195: element-wise formats and MX blocks, its rounding included.

It rounds by ``floor(|x| + 0.5)`` in float32, which takes the number just below one half of a step
up; exact rounding (the main path, ``quant.cast``) does not. ``nearest`` takes ties away from zero,
``even`` to even, ``floor`` towards zero. NaN and Inf stay in every element type; a block that holds
one is all NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from quant.common.errors import RequestError, unknown_name
from quant.formats.elements import F32

Rounding = Literal["nearest", "even", "floor"]
BLOCK, LARGEST_EXPONENT = 32, 127
_LEAST_NORMAL = np.float32(2.0**-126)


@dataclass(frozen=True)
class Element:
    """An element type as that library has it.

    Attributes:
        width: Bits of sign, leading one and mantissa.
        exponent_bits: 0: an integer.
        top_exponent: Of the largest number.
        maximum: The largest number.
    """

    width: int
    exponent_bits: int
    top_exponent: int
    maximum: float


ELEMENTS = {
    "fp8_e4m3": Element(5, 4, 8, 448.0),
    "fp8_e5m2": Element(4, 5, 15, 57344.0),
    "fp6_e3m2": Element(4, 3, 4, 28.0),
    "fp6_e2m3": Element(5, 2, 2, 7.5),
    "fp4_e2m1": Element(3, 2, 2, 6.0),
    "int8": Element(8, 0, 0, 127 / 64),
    "int4": Element(4, 0, 0, 7 / 4),
}


def elementwise(values: F32, element: str, rounding: Rounding) -> F32:
    """Round values of any shape to the levels of a type, saturated, float32.

    Raises:
        RequestError: an unknown element or rounding.
    """
    if element not in ELEMENTS:
        raise unknown_name("element", element, ELEMENTS)
    if rounding not in get_args(Rounding):
        raise unknown_name("rounding", rounding, get_args(Rounding))
    kind, x = ELEMENTS[element], np.asarray(values, np.float32)
    shift = np.float32(2 ** (kind.width - 2))
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        unit = np.float32(1)
        if kind.exponent_bits:
            exponent = np.floor(np.log2(np.abs(x) + (x == 0)))
            least = np.float32(2 - 2 ** (kind.exponent_bits - 1))
            unit = np.exp2(np.maximum(exponent, least)).astype(np.float32)
        rounded = _rounded(x / unit * shift, rounding) / shift * unit
        bounded = np.clip(rounded, np.float32(-kind.maximum), np.float32(kind.maximum))
    return np.where(np.isfinite(x), bounded, x).astype(np.float32)


def blocks(weight: F32, element: str, rounding: Rounding) -> F32:
    """Round ``[out, in]`` weights in MX blocks of 32 along rows, float32.

    Raises:
        RequestError: an unknown element or rounding, or rows that 32 does not divide.
    """
    rows, columns = weight.shape
    if columns % BLOCK:
        raise RequestError(f"rows of {columns} are not whole blocks of {BLOCK}")
    if element not in ELEMENTS:
        raise unknown_name("element", element, ELEMENTS)
    groups = np.ascontiguousarray(weight, np.float32).reshape(-1, BLOCK)
    largest = np.abs(groups).max(axis=1)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        exponent = np.floor(np.log2(largest + _LEAST_NORMAL * (largest == 0)))
        exponent = exponent - ELEMENTS[element].top_exponent
        exponent = np.where(
            exponent > LARGEST_EXPONENT, np.nan, np.maximum(exponent, -LARGEST_EXPONENT)
        )
        scale = np.exp2(exponent).astype(np.float32)[:, None]
        rounded = elementwise(groups / scale, element, rounding) * scale
    return rounded.reshape(rows, columns)


def _rounded(x: F32, rounding: str) -> F32:
    magnitude, half = np.abs(x), np.float32(0.5)
    if rounding == "floor":
        whole = np.floor(magnitude)
    else:
        whole = np.floor(magnitude + half)
        if rounding == "even":
            whole -= (magnitude - half) % np.float32(2) == 0
    result: F32 = np.sign(x) * whole
    return result
