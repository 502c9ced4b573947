"""optimum-quanto 0.2.7: ``MaxOptimizer`` and ``AbsmaxOptimizer``, float shifts.

Groups run over the flattened tensor. Low bits: ``scale = (max - min) / (2^b - 1)``, ``shift =
-min`` in the weight's own unit, ``round((w + shift) / scale)``. Eight bits: one scale a row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from quant.cast import SCALAR_TYPES, cast, decode
from quant.common.errors import RequestError
from quant.formats.elements import F32


class Quanto(NamedTuple):
    """Dequantized ``[out, in]`` float32, scales, and shifts (None: symmetric), ``[groups, 1]``."""

    values: F32
    scales: F32
    shifts: F32 | None


def low_bits(weight: F32, bits: int, group: int) -> Quanto:
    """Quantize as ``qint2`` and ``qint4`` do.

    Raises:
        RequestError: weights that are not whole groups.
    """
    if group < 1 or weight.size % group:
        raise RequestError(f"{weight.size} weights are not whole groups of {group}")
    groups = np.ascontiguousarray(weight, np.float32).reshape(-1, group)
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    most = np.float32(2**bits - 1)
    scales, shifts = (high - low) / most, -low
    with np.errstate(invalid="ignore", divide="ignore"):
        codes = np.clip(np.rint((groups + shifts) / scales), 0, most)
    values = np.nan_to_num(codes) * scales - shifts
    return Quanto(values.reshape(weight.shape), scales, shifts)


def int8_rows(weight: F32) -> Quanto:
    """Quantize as ``qint8`` does: -128..127 under ``absmax / 127``."""
    scales = np.abs(weight).max(axis=1, keepdims=True) / np.float32(127)
    with np.errstate(invalid="ignore", divide="ignore"):
        codes = np.clip(np.rint(weight / scales), -128, 127)
    return Quanto(np.nan_to_num(codes) * scales, scales, None)


def float8_rows(weight: F32) -> Quanto:
    """Quantize as ``qfloat8_e4m3fn`` does: ``absmax / 448``."""
    element = SCALAR_TYPES["e4m3fn"]
    scales = np.abs(weight).max(axis=1, keepdims=True) / np.float32(element.maximum)
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.nan_to_num(weight / scales)
    return Quanto(decode(cast(ratio, element), element) * scales, scales, None)
