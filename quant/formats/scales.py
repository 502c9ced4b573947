"""How group scales are stored, and the value each kind is used at.

Kinds: ``fp16``, ``fp32``; ``int8``: unsigned 8 bits under one fp16 a row (docs/adr/0002); ``e8m0``:
a power of two (OCP MX v1.0); ``e4m3``: FP8 without sign, under one fp32 a tensor in NVFP4's two
levels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32, FloatType

INT8_SCALE_MAX = 255
FP16_SMALLEST, FP16_LARGEST = 2.0**-24, 65504.0
E8M0_BIAS = 127
E4M3 = FloatType(4, 3, 7, "nan")
# torchao and NVIDIA's library keep block scales at normal values: 2^-6 is the least.
E4M3_LEAST, E4M3_LARGEST = np.float32(2.0**-6), np.float32(448.0)
_E4M3_EPSILON = 0x20  # 0.125


class Scales(NamedTuple):
    """Group scales ``[out, groups]`` as stored, what rows and tensor add, and float32 as used.

    ``inverse``: group scales are divided by the tensor's (compressed-tensors' ``global_scale``).
    """

    stored: NDArray[np.generic]
    rows: NDArray[np.float16] | None
    used: F32
    tensor: np.float32 | None = None
    inverse: bool = False

    def store_more(self, raw: F32, kind: str) -> Scales:
        """Store other scales ``[out, n]`` under the same row and tensor scales."""
        if kind == "int8" and self.rows is not None:
            return _under_rows(raw, self.rows)
        if kind == "e4m3":
            return _e4m3_inverse(raw, self.tensor) if self.inverse else _e4m3(raw, self.tensor)
        return store_scales(raw, kind)


def store_scales(raw: F32, kind: str, tensor: np.float32 | None = None) -> Scales:
    """Return raw scales ``[out, groups]`` as the given kind stores them.

    int8: one fp16 scale a row, ``S = max/255`` rounded up so that no group is clipped by it; a
    group's 8-bit scale is ``round(s/S)``, at least 1. e8m0: rounded up to a power of two, so that
    nothing is clipped; the MX rules hand powers of two over. e4m3: relative to ``tensor`` where
    there is one, to nearest even, at least 2^-6.
    """
    if kind == "fp32":
        return Scales(raw, None, raw)
    if kind == "fp16":
        half = np.clip(raw, FP16_SMALLEST, FP16_LARGEST).astype(np.float16)
        return Scales(half, None, half.astype(np.float32))
    if kind == "e8m0":
        codes = (exponent_above(raw) + E8M0_BIAS).astype(np.uint8)
        return Scales(codes, None, power_of_two(codes))
    if kind == "e4m3":
        return _e4m3(raw, tensor)
    wanted = raw.max(axis=1) / np.float32(INT8_SCALE_MAX)
    row = np.clip(wanted, FP16_SMALLEST, FP16_LARGEST).astype(np.float16)
    row = np.where(row.astype(np.float32) < wanted, np.nextafter(row, np.float16(np.inf)), row)
    return _under_rows(raw, np.minimum(row, np.float16(FP16_LARGEST)))


def exponent_above(values: F32) -> NDArray[np.int32]:
    """Return ``ceil(log2(values))``, exactly, kept in -127..127; -127 for zero."""
    mantissa, exponent = np.frexp(values)
    exponent = exponent - (mantissa == 0.5)
    exponent = np.where(values > 0, exponent, -E8M0_BIAS)
    return np.clip(exponent, -E8M0_BIAS, E8M0_BIAS).astype(np.int32)


def power_of_two(codes: NDArray[np.uint8]) -> F32:
    """Return ``2^(code - 127)`` of E8M0 codes; 255 is NaN."""
    with np.errstate(over="ignore"):  # 255 is replaced below
        values = np.ldexp(np.float32(1), codes.astype(np.int32) - E8M0_BIAS).astype(np.float32)
    return np.where(codes == 255, np.float32(np.nan), values)


def to_e4m3(values: F32) -> NDArray[np.uint8]:
    """Return the E4M3 codes of values in 0..448, rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    # Half of what is cut off, less a bit where the rest is even; exponents are rebased from 127.
    rounded = (bits >> 20) & 1
    rounded += bits
    rounded += np.uint32(0x7FFFF)
    codes: NDArray[np.uint8] = ((rounded >> 20) - np.uint32((127 - 7) << 3)).astype(np.uint8)
    if (below := values < E4M3_LEAST).any():
        codes[below] = np.rint(values[below] * np.float32(512)).astype(np.uint8)
    return codes


def _e4m3(raw: F32, tensor: np.float32 | None) -> Scales:
    relative = raw if tensor is None else raw / tensor
    codes = to_e4m3(np.clip(relative, E4M3_LEAST, E4M3_LARGEST).astype(np.float32))
    used: F32 = E4M3.levels[codes]
    return Scales(codes, None, used if tensor is None else used * tensor, tensor)


def _e4m3_inverse(raw: F32, tensor: np.float32 | None) -> Scales:
    """As compressed-tensors 0.20 has it: subnormal scales too, and its epsilon in place of 0."""
    assert tensor is not None
    codes = to_e4m3(np.minimum(raw * tensor, E4M3_LARGEST).astype(np.float32))
    codes = np.where(codes == 0, _E4M3_EPSILON, codes).astype(np.uint8)
    return Scales(codes, None, E4M3.levels[codes] / tensor, tensor, inverse=True)


def _under_rows(raw: F32, rows: NDArray[np.float16]) -> Scales:
    row = rows.astype(np.float32)[:, None]
    stored = np.clip(np.rint(raw / row), 1, INT8_SCALE_MAX).astype(np.uint8)
    return Scales(stored, rows, stored.astype(np.float32) * row)
