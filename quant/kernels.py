"""The fused, threaded Numba twins of ``quant.reference``: whole rows, every group, same answers.

Each kernel takes a whole ``[rows, columns]`` weight and a group size; rows run in parallel and
never share state, so the result does not depend on the number of threads. The inner loops are
written over short scratch vectors in the order that LLVM vectorises.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from quant.common.jit import jit, parallel
from quant.datatypes import F32
from quant.packing import U8

LANES = 8
ZERO = np.float32(0.0)
Scalar = Any  # numba compiles these functions; float32 scalars have no useful Python type


@jit
def _midpoint(j: int, middles: F32, levels: F32) -> tuple[Scalar, Scalar]:
    """Midpoint ``j`` and the step across it; past the end one that nothing exceeds."""
    if j < middles.size:
        return middles[j], levels[j + 1] - levels[j]
    return np.float32(np.inf), ZERO


@jit
def _round_to_grid(x: F32, out: F32, n: int, middles: F32, levels: F32) -> None:
    """``out[i]`` = the level nearest to ``x[i]``; a tie takes the lower."""
    # Four midpoints a pass: a quarter of the loads and stores. Levels are small multiples of a
    # power of two, so adding steps is exact.
    for i in range(n):
        out[i] = levels[0]
    for j in range(0, middles.size, 4):
        m0, s0 = middles[j], levels[j + 1] - levels[j]
        m1, s1 = _midpoint(j + 1, middles, levels)
        m2, s2 = _midpoint(j + 2, middles, levels)
        m3, s3 = _midpoint(j + 3, middles, levels)
        for i in range(n):
            value = x[i]
            low = (s0 if value > m0 else ZERO) + (s1 if value > m1 else ZERO)
            high = (s2 if value > m2 else ZERO) + (s3 if value > m3 else ZERO)
            out[i] += low + high


@jit
def _sum_squares(difference: F32, n: int) -> float:
    """Sum of float32 squares, in float64 over eight interleaved lanes (see quant.reference)."""
    lanes = np.zeros(LANES)
    for start in range(0, n, LANES):
        for lane in range(LANES):
            value = difference[start + lane]
            lanes[lane] += np.float64(value * value)
    total = 0.0
    for lane in range(LANES):
        total += lanes[lane]
    return total


@jit
def _absmax(group: F32) -> Scalar:
    largest = np.float32(0.0)
    for value in group:
        largest = max(largest, abs(value))
    return largest


@jit
def _clamp(value: Scalar, low: Scalar, high: Scalar) -> Scalar:
    return min(max(value, low), high)


@jit
def _fit_group(
    group: F32, levels: F32, middles: F32, tops: F32, low: Scalar, high: Scalar, scratch: F32
) -> tuple[Scalar, int]:
    """Best scale and candidate of one group; ``scratch [3, >= group + LANES]``."""
    n = group.size
    absmax = _absmax(group)
    best, best_error, best_scale, divided_by = 0, np.inf, ZERO, ZERO
    for candidate in range(levels.shape[0]):
        scale = _clamp(absmax / tops[candidate], low, high)
        x, level, difference = scratch[0], scratch[1], scratch[2]
        if scale != divided_by:  # candidates that mirror each other share their scale
            divided_by = scale
            for i in range(n):
                x[i] = group[i] / scale
        _round_to_grid(x, level, n, middles[candidate], levels[candidate])
        for i in range(n):
            difference[i] = level[i] * scale - group[i]
        difference[n : n + LANES] = np.float32(0.0)
        error = _sum_squares(difference, n)
        if error < best_error:
            best, best_error, best_scale = candidate, error, scale
    return best_scale, best


@parallel
def fit_grid(
    weight: F32, size: int, levels: F32, tops: F32, low: Scalar, high: Scalar
) -> tuple[F32, U8]:
    """Scales and selectors ``[rows, groups]``; ``levels [candidates, n]`` rising."""
    rows, columns = weight.shape
    groups = (columns + size - 1) // size
    scales = np.empty((rows, groups), np.float32)
    selectors = np.empty((rows, groups), np.uint8)
    middles = (levels[:, 1:] + levels[:, :-1]) / np.float32(2.0)
    for row in numba.prange(rows):
        scratch = np.empty((3, size + LANES), np.float32)
        for g in range(groups):
            group = weight[row, g * size : min(columns, (g + 1) * size)]
            scale, chosen = _fit_group(group, levels, middles, tops, low, high, scratch)
            scales[row, g] = scale
            selectors[row, g] = chosen
    return scales, selectors


@parallel
def encode_grid(
    weight: F32, size: int, scales: F32, selectors: U8, levels: F32, codes_of: U8
) -> U8:
    """Codes ``[rows, columns]``; ``codes_of [candidates, n]`` names the code of each level."""
    rows, columns = weight.shape
    codes = np.empty((rows, columns), np.uint8)
    middles = (levels[:, 1:] + levels[:, :-1]) / np.float32(2.0)
    for row in numba.prange(rows):
        ratio, index = np.empty(size, np.float32), np.empty(size, np.uint8)
        for g in range(scales.shape[1]):
            start, n = g * size, min(columns - g * size, size)
            scale, chosen = scales[row, g], selectors[row, g]
            if scale == 0:
                scale = np.float32(np.inf)
            for i in range(n):
                ratio[i] = weight[row, start + i] / scale
                index[i] = 0
            for j in range(middles.shape[1]):
                middle = middles[chosen, j]
                for i in range(n):
                    index[i] += np.uint8(ratio[i] > middle)
            for i in range(n):
                codes[row, start + i] = codes_of[chosen, index[i]]
    return codes


@parallel
def fit_symmetric(weight: F32, size: int, top: Scalar, low: Scalar, high: Scalar) -> F32:
    """Scales ``[rows, groups]`` of symmetric integers."""
    rows, columns = weight.shape
    scales = np.empty((rows, (columns + size - 1) // size), np.float32)
    for row in numba.prange(rows):
        for g in range(scales.shape[1]):
            group = weight[row, g * size : min(columns, (g + 1) * size)]
            scales[row, g] = _clamp(_absmax(group) / top, low, high)
    return scales


@parallel
def encode_symmetric(weight: F32, size: int, scales: F32, top: Scalar, mask: int) -> U8:
    """Two's complement codes ``[rows, columns]``."""
    rows, columns = weight.shape
    codes = np.empty((rows, columns), np.uint8)
    for row in numba.prange(rows):
        for g in range(scales.shape[1]):
            scale = scales[row, g] if scales[row, g] > 0 else np.float32(np.inf)
            for i in range(g * size, min(columns, (g + 1) * size)):
                rounded = _clamp(np.rint(weight[row, i] / scale), -top, top)
                codes[row, i] = np.uint8(np.int32(rounded) & mask)
    return codes


@parallel
def fit_asymmetric(weight: F32, size: int, top: Scalar, low: Scalar, high: Scalar) -> F32:
    """Scales ``[rows, groups]`` of asymmetric integers."""
    rows, columns = weight.shape
    scales = np.empty((rows, (columns + size - 1) // size), np.float32)
    for row in numba.prange(rows):
        for g in range(scales.shape[1]):
            group = weight[row, g * size : min(columns, (g + 1) * size)]
            scales[row, g] = _clamp((group.max() - group.min()) / top, low, high)
    return scales


@parallel
def encode_asymmetric(weight: F32, size: int, scales: F32, top: Scalar) -> tuple[U8, U8]:
    """Codes ``[rows, columns]`` and zero points ``[rows, groups]``."""
    rows, columns = weight.shape
    codes = np.empty((rows, columns), np.uint8)
    zeros = np.empty(scales.shape, np.uint8)
    for row in numba.prange(rows):
        for g in range(scales.shape[1]):
            start, stop = g * size, min(columns, (g + 1) * size)
            scale = scales[row, g] if scales[row, g] > 0 else np.float32(np.inf)
            least = weight[row, start:stop].min()
            zero = _clamp(np.rint(-least / scale), np.float32(0.0), top)
            zeros[row, g] = np.uint8(zero)
            for i in range(start, stop):
                rounded = np.rint(weight[row, i] / scale) + zero
                codes[row, i] = np.uint8(_clamp(rounded, np.float32(0.0), top))
    return codes, zeros


@parallel
def decode(codes: U8, size: int, scales: F32, selectors: U8, zeros: F32, tables: F32) -> F32:
    """``(table[selector][code] - zero) * scale``, ``[rows, columns]`` float32."""
    rows, columns = codes.shape
    out = np.empty((rows, columns), np.float32)
    for row in numba.prange(rows):
        for g in range(scales.shape[1]):
            table, scale, zero = tables[selectors[row, g]], scales[row, g], zeros[row, g]
            for i in range(g * size, min(columns, (g + 1) * size)):
                out[row, i] = (table[codes[row, i]] - zero) * scale
    return out


@parallel
def pack(codes: U8, bits: int) -> U8:
    """Dense packing as ``quant.packing.pack`` does it, ``[rows, ceil(columns*bits/8)]``."""
    rows, columns = codes.shape
    packed = np.zeros((rows, (columns * bits + 7) // 8), np.uint8)
    for row in numba.prange(rows):
        # Eight codes fill exactly ``bits`` bytes.
        for eight in range((columns + 7) // 8):
            word = np.uint64(0)
            for k in range(min(8, columns - 8 * eight)):
                word |= np.uint64(codes[row, 8 * eight + k]) << np.uint64(bits * k)
            for byte in range(min(bits, packed.shape[1] - bits * eight)):
                packed[row, bits * eight + byte] = np.uint8(word >> np.uint64(8 * byte))
    return packed


@parallel
def unpack(packed: U8, bits: int, columns: int) -> U8:
    """The inverse of ``pack``, ``[rows, columns]``."""
    rows, width = packed.shape
    codes = np.empty((rows, columns), np.uint8)
    mask = np.uint32((1 << bits) - 1)
    for row in numba.prange(rows):
        for i in range(columns):
            at = i * bits
            word = np.uint32(packed[row, at >> 3])
            if (at >> 3) + 1 < width:
                word |= np.uint32(packed[row, (at >> 3) + 1]) << np.uint32(8)
            codes[row, i] = np.uint8((word >> np.uint32(at & 7)) & mask)
    return codes
