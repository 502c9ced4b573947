"""The PE's arithmetic for any parameters, all in 32 bits.

Terms are laid out ``[block, step, lane, row]``, so that the inner loops run over the rows of a
tile with unit stride.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from hwsim.pe.arithmetic import WIDEST
from hwsim.pe.operands import I32
from quant.common.jit import jit, parallel
from quant.formats.elements import F32
from quant.rounding.packing import U8

I16 = NDArray[np.int16]
F64 = NDArray[np.float64]
ROWS = 64
"""Rows of a tile: four AVX-512 vectors of int32."""
NOTHING = -1024
SHIFT_LIMIT = 31


@jit
def _decode(
    codes: U8, selectors: U8, sign: U8, man: U8, exp: U8, exponents: I16, signs: I16
) -> None:
    """Terms of one group into ``exponents`` and ``signs``, ``[blocks, steps, lanes, ROWS]``.

    Lanes beyond the group's end, and rows beyond the tile's, keep ``NOTHING``.
    """
    lanes = exponents.shape[2]
    for column in range(codes.shape[1]):
        block, lane = column // lanes, column % lanes
        for r in range(codes.shape[0]):
            for step in range(sign.shape[2]):
                selector, code = selectors[r], codes[r, column]
                there = man[selector, code, step] > 0
                value = np.int16(exp[selector, code, step]) if there else np.int16(NOTHING)
                exponents[block, step, lane, r] = value
                signs[block, step, lane, r] = -np.int16(sign[selector, code, step])


@jit
def _right(value: np.int32, amount: np.int32) -> np.int32:
    """``value >> amount`` for amounts of any size, in 32 bits (numba would widen to 64)."""
    places = min(np.uint32(amount), np.uint32(SHIFT_LIMIT))
    return np.int32(value >> places)


@jit
def _products(
    exponents: I16, signs: I16, field: I32, magnitude: I32, negative: I32, largest: I32, total: I32
) -> None:
    """One step of ``ROWS`` PEs: the largest product exponent and the sum of aligned products."""
    for r in range(ROWS):
        largest[r] = 0
        total[r] = 0
    for lane in range(field.size):
        mine = field[lane]
        for r in range(ROWS):
            largest[r] = max(largest[r], np.int32(mine + exponents[lane, r]))
    for lane in range(field.size):
        mine, mantissa, minus = field[lane], magnitude[lane], negative[lane]
        for r in range(ROWS):
            gap = np.int32(largest[r] - np.int32(mine + exponents[lane, r]))
            flip = np.int32(minus ^ signs[lane, r])
            total[r] += np.int32(np.int32(_right(mantissa, gap) ^ flip) - flip)


@jit
def _accumulate(
    mantissa: I32, exponent: I32, total: I32, largest: I32, shift: int, bits: int, excess: int
) -> None:
    """Add a step's sums to the accumulators; at most ``excess`` bits are normalized away."""
    left = np.uint32(shift)
    for r in range(ROWS):
        top = max(exponent[r], largest[r])
        held = _right(mantissa[r], np.int32(top - exponent[r]))
        coming = _right(np.int32(total[r] << left), np.int32(top - largest[r]))
        wide = np.int32(held + coming)
        size = abs(wide)
        # A step without a product changes nothing, not even an accumulator of -2^bits.
        busy = np.int32(largest[r] > 0)
        over = np.int32(0)
        for bit in range(excess):
            over += np.int32(busy & np.int32(size >= np.int32(1 << (bits + bit))))
        mantissa[r] = _right(wide, over)
        exponent[r] = np.int32(top + over)


@jit
def _group(
    exponents: I16,
    signs: I16,
    field: I32,
    magnitude: I32,
    negative: I32,
    shifts: I32,
    bits: int,
    excess: int,
    mantissa: I32,
    exponent: I32,
    scratch: I32,
) -> None:
    """All steps of one group for ``ROWS`` PEs; ``scratch[2]`` counts steps that had a product."""
    largest, total, busy = scratch[0], scratch[1], scratch[2]
    mantissa[:] = 0
    exponent[:] = 0
    busy[:] = 0
    for block in range(field.shape[0]):
        f, m, n = field[block], magnitude[block], negative[block]
        for step in range(shifts.size):
            _products(exponents[block, step], signs[block, step], f, m, n, largest, total)
            _accumulate(mantissa, exponent, total, largest, shifts[step], bits, excess)
            for r in range(ROWS):
                busy[r] += np.int32(largest[r] > 0)


@parallel
def matmul(
    codes: U8,
    selectors: U8,
    group_size: int,
    sign: U8,
    man: U8,
    exp: U8,
    shifts: I32,
    field: I32,
    magnitude: I32,
    negative: I32,
    starts: I32,
    scales: F64,
    corrections: F64,
    ones: F64,
    powers: F64,
    bits: int,
    excess: int,
) -> tuple[F32, int]:
    """Group results added in FP32 ``[tokens, out]`` and the number of steps that had a product.

    Args:
        codes: ``[out, in]``.
        selectors: ``[out, groups]``.
        group_size: Weights of a group.
        sign: ``[selectors, codes, steps]``, as are ``man`` and ``exp``.
        man: Whether there is a term.
        exp: Its own exponent.
        shifts: Significance of each step.
        field: Activation exponents ``[tokens, blocks, lanes]``, ``NOTHING`` for zeros.
        magnitude: Activation mantissas with the guard bits below, same shape.
        negative: -1 for negative activations, same shape.
        starts: First block of each group, and the end, ``[groups + 1]``.
        scales: Group scales times the format's unit, ``[out, groups]``, exact.
        corrections: Scales of the activation sums, ``[out, groups]``; no column if symmetric.
        ones: Activation sums of the groups, ``[tokens, groups]``, exact.
        powers: ``2^(exponent - point)`` of every accumulator exponent.
        bits: Accumulator magnitude bits.
        excess: Bits that a sum can exceed them by.
    """
    rows, tokens, lanes = codes.shape[0], field.shape[0], field.shape[2]
    groups, asymmetric = starts.size - 1, corrections.shape[1] > 0
    tiles, longest = (rows + ROWS - 1) // ROWS, starts[1]
    out = np.zeros((tokens, rows), np.float32)
    busy = np.zeros(tiles, np.int64)
    for tile in numba.prange(tiles):
        exponents = np.full((longest, shifts.size, lanes, ROWS), NOTHING, np.int16)
        signs = np.zeros((longest, shifts.size, lanes, ROWS), np.int16)
        mantissa, exponent = np.empty(ROWS, np.int32), np.empty(ROWS, np.int32)
        scratch = np.empty((3, ROWS), np.int32)
        base = tile * ROWS
        used = min(ROWS, rows - base)
        for g in range(groups):
            if g == groups - 1:
                exponents[:] = NOTHING  # a shorter group leaves lanes of the one before
            first, a, b = g * group_size, starts[g], starts[g + 1]
            part = codes[base : base + used, first : first + group_size]
            _decode(part, selectors[base : base + used, g], sign, man, exp, exponents, signs)
            for token in range(tokens):
                f, m, n = field[token, a:b], magnitude[token, a:b], negative[token, a:b]
                _group(exponents, signs, f, m, n, shifts, bits, excess, mantissa, exponent, scratch)
                for r in range(used):
                    busy[tile] += scratch[2, r]
                    value = np.float64(mantissa[r]) * powers[exponent[r]]
                    out[token, base + r] += np.float32(value * scales[base + r, g])
                    if asymmetric:
                        correction = ones[token, g] * corrections[base + r, g]
                        out[token, base + r] += np.float32(correction)
    return out, busy.sum()


@jit
def activation_sums(
    field: I32, magnitude: I32, negative: I32, starts: I32, bits: int
) -> tuple[I32, I32]:
    """Sum of each group's activations by the PE's stages, weights 1: mantissas and exponents.

    Both are ``[tokens, groups]``. There is one sum for all rows, so this is plain scalar code.
    """
    tokens, lanes, groups = field.shape[0], field.shape[2], starts.size - 1
    mantissas = np.zeros((tokens, groups), np.int32)
    exponents = np.zeros((tokens, groups), np.int32)
    for token in range(tokens):
        for g in range(groups):
            held, here = 0, 0
            for block in range(starts[g], starts[g + 1]):
                largest, total = 0, 0
                for lane in range(lanes):
                    largest = max(largest, field[token, block, lane])
                for lane in range(lanes):
                    gap = min(largest - field[token, block, lane], SHIFT_LIMIT)
                    flip = negative[token, block, lane]
                    total += ((magnitude[token, block, lane] >> gap) ^ flip) - flip
                if largest == 0:
                    continue
                top = max(here, largest)
                held = (held >> min(top - here, SHIFT_LIMIT)) + (
                    total >> min(top - largest, SHIFT_LIMIT)
                )
                over = 0
                while abs(held) >> (bits + over):
                    over += 1
                held, here = held >> over, top + over
            mantissas[token, g], exponents[token, g] = held, here
    return mantissas, exponents


assert WIDEST < SHIFT_LIMIT
