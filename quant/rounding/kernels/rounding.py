"""The threaded Numba twins of ``quant.rounding.reference``: whole rows, every group, same answers.

Each kernel takes a whole ``[rows, columns]`` weight and a group size; rows run in parallel and
never share state, so the result does not depend on the number of threads. The inner loops are
written over short scratch vectors, which stay in the cache, in the order that LLVM vectorises.
Results are allocated by numpy: its large arrays take huge pages, compiled code's do not.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from quant.common.jit import jit, parallel
from quant.formats.elements import F32
from quant.formats.grid import Grid
from quant.rounding.kernels.packing import pack, pack_row, unpack, unpack_row, words
from quant.rounding.packing import U8

SPAN = 1024
"""Weights that are rounded at a time: their scratch fits the innermost cache."""
ZERO = np.float32(0.0)
TO_INTEGER, FAR = np.float32(1.5 * 2**23), np.float32(1024)
"""Adding and subtracting the first rounds half to even; ratios are kept from going beyond FAR,
outside of all integers here, since that holds up to 2^22 (rint would be a call, not vectorised)."""
NEAR = np.float32(512)
"""Zero points up to which a ratio at FAR stays outside of all codes; fp16 ones may be larger."""
I32 = NDArray[np.int32]
Scalar = Any  # numba compiles these functions; float32 scalars have no useful Python type


@jit
def add_steps(x: F32, n: int, thresholds: F32, steps: F32, out: F32) -> None:
    """Add to ``out[i]`` the step of each threshold that lies below ``x[i]``.

    Thresholds come in multiples of four. Sums of steps must be exact in float32 (codes are; levels
    are where ``kernels_choose`` says so), since eight at a time are added as a tree.
    """
    at = 0
    while at < thresholds.size:
        t0, t1, t2, t3 = thresholds[at], thresholds[at + 1], thresholds[at + 2], thresholds[at + 3]
        s0, s1, s2, s3 = steps[at], steps[at + 1], steps[at + 2], steps[at + 3]
        at += 4
        if at == thresholds.size:
            for i in range(n):
                value = x[i]
                low = (s0 if value > t0 else ZERO) + (s1 if value > t1 else ZERO)
                high = (s2 if value > t2 else ZERO) + (s3 if value > t3 else ZERO)
                out[i] += low + high
            return
        t4, t5, t6, t7 = thresholds[at], thresholds[at + 1], thresholds[at + 2], thresholds[at + 3]
        s4, s5, s6, s7 = steps[at], steps[at + 1], steps[at + 2], steps[at + 3]
        at += 4
        for i in range(n):
            value = x[i]
            low = (s0 if value > t0 else ZERO) + (s1 if value > t1 else ZERO)
            low += (s2 if value > t2 else ZERO) + (s3 if value > t3 else ZERO)
            high = (s4 if value > t4 else ZERO) + (s5 if value > t5 else ZERO)
            high += (s6 if value > t6 else ZERO) + (s7 if value > t7 else ZERO)
            out[i] += low + high


@jit
def divide(group: F32, scale: Scalar, x: F32) -> None:
    """``x`` = the group over its scale; a scale of zero belongs to a group of zeros."""
    safe = scale if scale > 0 else np.float32(np.inf)
    for i in range(group.size):
        x[i] = group[i] / safe


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


def extrema(weight: F32, size: int) -> tuple[F32, F32]:
    """Least and greatest of each group, ``[rows, groups]``, from -NaN, -Inf over -0, 0 to NaN."""
    shape = (weight.shape[0], -(-weight.shape[1] // size))
    low, high = np.empty(shape, np.int32), np.empty(shape, np.int32)
    _extrema(weight.view(np.int32), size, low, high)
    return low.view(np.float32), high.view(np.float32)


@parallel
def _extrema(bits: I32, size: int, low: I32, high: I32) -> None:
    # Integers, since the order of float32 is that of its bits once negative ones are mirrored, and
    # since integer minima need no order, so that they are vectorised.
    rows, columns = bits.shape
    mirror = np.int32(0x7FFFFFFF)
    for row in numba.prange(rows):
        for g in range(low.shape[1]):
            group = bits[row, g * size : min(columns, (g + 1) * size)]
            least, most = mirror, ~mirror
            for i in range(group.size):
                key = group[i] ^ ((group[i] >> np.int32(31)) & mirror)
                least, most = min(least, key), max(most, key)
            low[row, g] = least ^ ((least >> np.int32(31)) & mirror)
            high[row, g] = most ^ ((most >> np.int32(31)) & mirror)


def encode_grid(
    weight: F32, size: int, scales: F32, selectors: U8, grid: Grid, bits: int
) -> U8:  # fmt: skip
    """Packed codes ``[rows, ceil(columns*bits/8)]`` of weights over scales ``[rows, groups]``."""
    packed = np.empty((weight.shape[0], (weight.shape[1] * bits + 7) // 8), np.uint8)
    steps = grid.code_steps
    tables = (steps.thresholds, steps.steps, steps.first, grid.negative_zero)
    rule = np.empty(0, np.int32)
    if (element := grid.minifloat) is not None:
        rule = np.array([element.mantissa_bits, element.bias, grid.codes[0, -1], bits], np.int32)
    _encode_grid(weight, size, scales, selectors, *tables, rule, bits, packed)
    return packed


@jit
def _float_codes(x: F32, rule: I32, negative_zero: int, codes: U8) -> None:
    """Codes of a minifloat, rounded half to even on the bits of ``x``, saturated.

    ``rule`` holds mantissa bits, bias, the code of the largest value, and bits of a code.
    """
    mantissa, bias, largest, width = rule[0], rule[1], rule[2], rule[3]
    drop, sign = np.int32(23) - mantissa, np.int32(1) << (width - np.int32(1))
    half = (np.int32(1) << (drop - np.int32(1))) - np.int32(1)
    shift = (np.int32(127) - bias) << mantissa
    normal = (np.int32(128) - bias) << np.int32(23)
    subnormal_unit = np.float32(2.0) ** np.float32(bias - 1 + mantissa)
    of_zero = np.int32(negative_zero)
    pattern = x.view(np.int32)
    for i in range(x.size):
        magnitude = pattern[i] & np.int32(0x7FFFFFFF)
        odd = (magnitude >> drop) & np.int32(1)
        code = ((magnitude + half + odd) >> drop) - shift
        small = np.int32((abs(x[i]) * subnormal_unit + TO_INTEGER) - TO_INTEGER)
        code = small if magnitude < normal else code
        code = min(code, largest)
        negative = of_zero if code == 0 else code | sign
        codes[i] = np.uint8(negative if pattern[i] < 0 else code)


@jit
def _codes(
    x: F32, out: F32, thresholds: F32, steps: F32, first: Scalar, negative_zero: int, codes: U8
) -> None:
    """Codes of the cells that ``x`` lies in; ``out`` is scratch of as many numbers."""
    n = x.size
    for i in range(n):
        out[i] = first
    add_steps(x, n, thresholds, steps, out)
    if negative_zero:
        spare = np.float32(negative_zero)
        for i in range(n):
            out[i] = spare if (out[i] == ZERO) & np.signbit(x[i]) else out[i]
    for i in range(n):
        codes[i] = np.uint8(np.int32(out[i]))


@parallel
def _encode_grid(
    weight: F32,
    size: int,
    scales: F32,
    selectors: U8,
    thresholds: F32,
    steps: F32,
    first: F32,
    negative_zero: int,
    rule: I32,
    bits: int,
    packed: U8,
) -> None:
    rows, columns = weight.shape
    alone = first.size == 1  # then many small groups are rounded in one go
    span = max(1, SPAN // size) * size if alone else size
    for row in numba.prange(rows):
        scratch, codes = np.empty((2, span), np.float32), np.zeros(words(columns), np.uint8)
        for start in range(0, columns, span):
            stop = min(columns, start + span)
            x, out = scratch[0, : stop - start], scratch[1, : stop - start]
            for g in range(start // size, (stop + size - 1) // size):
                begin, end = g * size, min(columns, (g + 1) * size)
                divide(weight[row, begin:end], scales[row, g], x[begin - start : end - start])
            if rule.size:
                _float_codes(x, rule, negative_zero, codes[start:stop])
                continue
            chosen = 0 if alone else selectors[row, start // size]
            _codes(
                x, out, thresholds[chosen], steps[chosen], first[chosen],
                negative_zero, codes[start:stop],
            )  # fmt: skip
        pack_row(codes, columns, bits, packed[row])


def encode_integer(weight: F32, size: int, scales: F32, zeros: F32, grid: Grid, bits: int) -> U8:
    """Packed integer codes: rounded half to even, shifted by the zero point, saturated."""
    packed = np.empty((weight.shape[0], (weight.shape[1] * bits + 7) // 8), np.uint8)
    least, most = grid.levels[0, 0], grid.levels[0, -1]
    _encode_integer(weight, size, scales, zeros, least, most, bits, packed)
    return packed


@parallel
def _encode_integer(
    weight: F32,
    size: int,
    scales: F32,
    zeros: F32,
    least: Scalar,
    most: Scalar,
    bits: int,
    packed: U8,
) -> None:
    rows, columns = weight.shape
    mask = np.uint8((1 << bits) - 1)
    for row in numba.prange(rows):
        codes, scratch = np.zeros(words(columns), np.uint8), np.empty(size, np.float32)
        for g in range(scales.shape[1]):
            start, stop = g * size, min(columns, (g + 1) * size)
            group, code, zero = weight[row, start:stop], codes[start:stop], zeros[row, g]
            x = scratch[: stop - start]
            divide(group, scales[row, g], x)
            whole = np.rint(zero) == zero
            if whole and abs(zero) <= NEAR:
                for i in range(x.size):
                    ratio = -FAR if x[i] < -FAR else x[i]
                    ratio = FAR if ratio > FAR else ratio
                    shifted = ((ratio + TO_INTEGER) - TO_INTEGER) + zero
                    bounded = least if shifted < least else shifted
                    bounded = most if bounded > most else bounded
                    code[i] = np.uint8(np.int32(bounded)) & mask
            else:
                for i in range(x.size):
                    shifted = np.rint(x[i]) + zero if whole else np.rint(x[i] + zero)
                    bounded = least if shifted < least else shifted
                    bounded = most if bounded > most else bounded
                    code[i] = np.uint8(np.int32(bounded)) & mask
        pack_row(codes, columns, bits, packed[row])


def decode(
    packed: U8, bits: int, columns: int, size: int,
    scales: F32, selectors: U8, zeros: F32, tables: F32,
) -> F32:  # fmt: skip
    """``(table[selector][code] - zero) * scale``, ``[rows, columns]`` float32."""
    out = np.empty((packed.shape[0], columns), np.float32)
    _decode(packed, bits, size, scales, selectors, zeros, tables, out)
    return out


@parallel
def _decode(
    packed: U8, bits: int, size: int,
    scales: F32, selectors: U8, zeros: F32, tables: F32, out: F32,
) -> None:  # fmt: skip
    rows, columns = out.shape
    small = tables.shape[1] <= size  # then the table of a group is cheaper than its products
    for row in numba.prange(rows):
        codes, values = np.empty(words(columns), np.uint8), np.empty(256, np.float32)
        unpack_row(packed[row], columns, bits, codes)
        for g in range(scales.shape[1]):
            start, stop = g * size, min(columns, (g + 1) * size)
            code, group = codes[start:stop], out[row, start:stop]
            table, scale, zero = tables[selectors[row, g]], scales[row, g], zeros[row, g]
            if small:
                for k in range(table.size):
                    values[k] = (table[k] - zero) * scale
                for i in range(code.size):
                    group[i] = values[code[i]]
            else:
                for i in range(code.size):
                    group[i] = (table[code[i]] - zero) * scale


__all__ = [
    "add_steps", "cell", "decode", "encode_grid", "encode_integer", "extrema", "pack", "unpack",
]  # fmt: skip
