"""The fused, threaded Numba twins of ``quant.reference``: whole rows, every group, same answers.

Each kernel takes a whole ``[rows, columns]`` weight and a group size; rows run in parallel and
never share state, so the result does not depend on the number of threads. The inner loops are
written over short scratch vectors in the order that LLVM vectorises.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

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
def _choose_in_group(
    group: F32, scales: F32, levels: F32, thresholds: F32, n_levels: NDArray[np.int64], scratch: F32
) -> int:
    """Candidate with the least squared error; ``scratch [3, >= group + LANES]``."""
    n = group.size
    best, best_error, divided_by = 0, np.inf, ZERO
    x, level, difference = scratch[0], scratch[1], scratch[2]
    for candidate in range(levels.shape[0]):
        scale = scales[candidate]
        if scale != divided_by or candidate == 0:  # mirrored candidates share their scale
            divided_by = scale
            safe = scale if scale > 0 else np.float32(np.inf)
            for i in range(n):
                x[i] = group[i] / safe
        cells = n_levels[candidate] - 1
        _round_to_grid(x, level, n, thresholds[candidate, :cells], levels[candidate])
        for i in range(n):
            difference[i] = level[i] * scale - group[i]
        difference[n : n + LANES] = np.float32(0.0)
        error = _sum_squares(difference, n)
        if error < best_error:
            best, best_error = candidate, error
    return best


@parallel
def choose(weight: F32, size: int, scales: F32, levels: F32, thresholds: F32) -> U8:
    """Candidate of each group, ``[rows, groups]``; ``scales [candidates, rows, groups]``."""
    rows, columns = weight.shape
    selectors = np.empty(scales.shape[1:], np.uint8)
    n_levels = np.empty(levels.shape[0], np.int64)
    for candidate in range(levels.shape[0]):
        n_levels[candidate] = np.isfinite(thresholds[candidate]).sum() + 1
    for row in numba.prange(rows):
        scratch = np.empty((3, size + LANES), np.float32)
        for g in range(scales.shape[2]):
            group = weight[row, g * size : min(columns, (g + 1) * size)]
            of_group = scales[:, row, g].copy()
            selectors[row, g] = _choose_in_group(
                group, of_group, levels, thresholds, n_levels, scratch
            )
    return selectors


@parallel
def extrema(weight: F32, size: int) -> tuple[F32, F32]:
    """Least and greatest weight of each group, ``[rows, groups]``."""
    rows, columns = weight.shape
    groups = (columns + size - 1) // size
    low, high = np.empty((rows, groups), np.float32), np.empty((rows, groups), np.float32)
    for row in numba.prange(rows):
        for g in range(groups):
            least, most = weight[row, g * size], weight[row, g * size]
            for i in range(g * size, min(columns, (g + 1) * size)):
                value = weight[row, i]
                least = value if value < least else least
                most = value if value > most else most
            low[row, g], high[row, g] = least, most
    return low, high


@jit
def cell(x: Scalar, thresholds: F32) -> int:
    """Number of thresholds below ``x``."""
    low, high = 0, thresholds.size
    while low < high:
        middle = (low + high) >> 1
        if x > thresholds[middle]:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def _cells(x: F32, n: int, thresholds: F32, index: U8) -> None:
    """``index[i]`` = number of thresholds below ``x[i]``."""
    if thresholds.size > 32:
        for i in range(n):
            index[i] = cell(x[i], thresholds)
        return
    for i in range(n):
        index[i] = 0
    for j in range(thresholds.size - 1):
        threshold = thresholds[j]
        for i in range(n):
            index[i] += np.uint8(x[i] > threshold)


@parallel
def encode_grid(
    weight: F32,
    size: int,
    scales: F32,
    selectors: U8,
    thresholds: F32,
    codes_of: U8,
    negative_zero: int,
) -> U8:
    """Codes ``[rows, columns]``; ``codes_of [candidates, n]`` names the code of each level."""
    rows, columns = weight.shape
    codes = np.empty((rows, columns), np.uint8)
    for row in numba.prange(rows):
        ratio, index = np.empty(size, np.float32), np.empty(size, np.uint8)
        for g in range(scales.shape[1]):
            start, n = g * size, min(columns - g * size, size)
            chosen = selectors[row, g]
            scale = scales[row, g] if scales[row, g] > 0 else np.float32(np.inf)
            for i in range(n):
                ratio[i] = weight[row, start + i] / scale
            _cells(ratio, n, thresholds[chosen], index)
            for i in range(n):
                code = codes_of[chosen, index[i]]
                below = (code == 0) & np.signbit(weight[row, start + i])
                codes[row, start + i] = np.uint8(negative_zero) if below else code
    return codes


@parallel
def encode_integer(
    weight: F32, size: int, scales: F32, zeros: F32, least: Scalar, most: Scalar, mask: int
) -> U8:
    """Integer codes ``[rows, columns]``: rounded half to even, shifted, saturated."""
    rows, columns = weight.shape
    codes = np.empty((rows, columns), np.uint8)
    for row in numba.prange(rows):
        for g in range(scales.shape[1]):
            scale = scales[row, g] if scales[row, g] > 0 else np.float32(np.inf)
            zero, start, stop = zeros[row, g], g * size, min(columns, (g + 1) * size)
            if np.rint(zero) == zero:
                for i in range(start, stop):
                    shifted = np.rint(weight[row, i] / scale) + zero
                    codes[row, i] = np.uint8(np.int32(min(max(shifted, least), most)) & mask)
            else:
                for i in range(start, stop):
                    shifted = np.rint(weight[row, i] / scale + zero)
                    codes[row, i] = np.uint8(np.int32(min(max(shifted, least), most)) & mask)
    return codes


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
