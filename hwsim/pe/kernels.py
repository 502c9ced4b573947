"""The PE's arithmetic at speed: numba, vectorised over output rows, equal to the reference.

Weights are decoded once into terms laid out ``[tile, block, step, lane, row]`` so that the inner
loops run over ``ROWS`` rows with unit stride. A term's exponent and sign are int8; a term without
a one-bit, and an activation of zero, carry an exponent so low (``NOTHING``) that the alignment
shift removes the product and the maximum never sees it: no branches. ``docs/pe_arithmetic.md``
gives the arithmetic, ``hwsim.pe.reference`` the same in plain integers.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from quant.common.jit import jit, parallel
from quant.datatypes import F32
from quant.packing import U8

I8 = NDArray[np.int8]
I32 = NDArray[np.int32]
ROWS = 64
"""Rows of a tile: four AVX-512 vectors of int32."""
NOTHING = -64
SHIFT_LIMIT = 31
FUSED_LANES, FUSED_EXCESS = 4, 2
"""What the fused kernel is written for; other parameters take the general one."""


@parallel
def decode_terms(
    codes: U8, selectors: U8, size: int, lanes: int, sign: U8, man: U8, exp: U8
) -> tuple[I8, I8]:
    """Term exponents and signs, each ``[tiles, blocks, steps, lanes, ROWS]`` int8.

    Args:
        codes: ``[out, in]`` uint8.
        selectors: ``[out, groups]`` uint8.
        size: Weights of a group; blocks do not cross groups.
        lanes: Lanes of a PE.
        sign: ``[selectors, codes, steps]``, as are ``man`` and ``exp``.
        man: Whether there is a term.
        exp: Exponents 0..3.
    """
    rows, columns = codes.shape
    steps, groups = sign.shape[2], selectors.shape[1]
    per_group = (min(size, columns) + lanes - 1) // lanes
    last = columns - (groups - 1) * size
    blocks = (groups - 1) * per_group + (last + lanes - 1) // lanes
    tiles = (rows + ROWS - 1) // ROWS
    exponents = np.full((tiles, blocks, steps, lanes, ROWS), NOTHING, np.int8)
    signs = np.zeros((tiles, blocks, steps, lanes, ROWS), np.int8)
    for row in numba.prange(rows):
        tile, r = row // ROWS, row % ROWS
        for column in range(columns):
            group, within = column // size, column % size
            block, lane = group * per_group + within // lanes, within % lanes
            selector, code = selectors[row, group], codes[row, column]
            for step in range(steps):
                if man[selector, code, step]:
                    exponents[tile, block, step, lane, r] = exp[selector, code, step]
                    signs[tile, block, step, lane, r] = -np.int8(sign[selector, code, step])
    return exponents, signs


@jit
def _right(value: np.int32, amount: np.int32) -> np.int32:
    """``value >> amount`` for amounts of any size, in 32 bits (numba would widen to 64)."""
    places = min(np.uint32(amount), np.uint32(SHIFT_LIMIT))
    return np.int32(value >> places)


@jit
def _products(
    exponents: I8, signs: I8, field: I32, magnitude: I32, negative: I32, largest: I32, total: I32
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
def _fused4(
    exponents: I8,
    signs: I8,
    field: I32,
    magnitude: I32,
    negative: I32,
    shift: int,
    bits: int,
    mantissa: I32,
    exponent: I32,
    busy: I32,
) -> None:
    """``_products`` and ``_accumulate`` in one loop: four lanes, at most two excess bits."""
    f0, f1, f2, f3 = field[0], field[1], field[2], field[3]
    m0, m1, m2, m3 = magnitude[0], magnitude[1], magnitude[2], magnitude[3]
    n0, n1, n2, n3 = negative[0], negative[1], negative[2], negative[3]
    left, one, two = np.uint32(shift), np.int32(1 << bits), np.int32(2 << bits)
    for r in range(ROWS):
        e0, e1 = np.int32(f0 + exponents[0, r]), np.int32(f1 + exponents[1, r])
        e2, e3 = np.int32(f2 + exponents[2, r]), np.int32(f3 + exponents[3, r])
        top = max(e0, e1, e2, e3, np.int32(0))
        s0, s1 = np.int32(n0 ^ signs[0, r]), np.int32(n1 ^ signs[1, r])
        s2, s3 = np.int32(n2 ^ signs[2, r]), np.int32(n3 ^ signs[3, r])
        p0 = np.int32(_right(m0, np.int32(top - e0)) ^ s0)
        p1 = np.int32(_right(m1, np.int32(top - e1)) ^ s1)
        p2 = np.int32(_right(m2, np.int32(top - e2)) ^ s2)
        p3 = np.int32(_right(m3, np.int32(top - e3)) ^ s3)
        total = np.int32((p0 + p1) + (p2 + p3) - ((s0 + s1) + (s2 + s3)))
        some = np.int32(top > 0)
        both = max(top, exponent[r])
        held = _right(mantissa[r], np.int32(both - exponent[r]))
        wide = np.int32(held + _right(np.int32(total << left), np.int32(both - top)))
        size = abs(wide)
        # A step without a product (some = 0) changes nothing, not even a mantissa of -2^bits.
        over = np.int32(some * np.int32(np.int32(size >= one) + np.int32(size >= two)))
        mantissa[r] = _right(wide, over)
        exponent[r] = np.int32(both + over)
        busy[r] += some


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
    exponents: I8,
    signs: I8,
    field: I32,
    magnitude: I32,
    negative: I32,
    shifts: I32,
    bits: int,
    excess: int,
    mantissa: I32,
    exponent: I32,
    scratch: I32,
) -> int:
    """All steps of one group for ``ROWS`` PEs; returns how many steps had a product."""
    largest, total, busy = scratch[0], scratch[1], scratch[2]
    mantissa[:] = 0
    exponent[:] = 0
    busy[:] = 0
    fused = field.shape[1] == FUSED_LANES and excess <= FUSED_EXCESS
    for block in range(field.shape[0]):
        f, m, n = field[block], magnitude[block], negative[block]
        for step in range(shifts.size):
            e, s = exponents[block, step], signs[block, step]
            if fused:
                _fused4(e, s, f, m, n, shifts[step], bits, mantissa, exponent, busy)
            else:
                _products(e, s, f, m, n, largest, total)
                _accumulate(mantissa, exponent, total, largest, shifts[step], bits, excess)
                for r in range(ROWS):
                    busy[r] += np.int32(largest[r] > 0)
    return int(busy.sum())


@jit
def _fp32(mantissa: np.int32, factor: np.int32, power: float) -> np.float32:
    """An exact integer product times a power of two, rounded once to FP32."""
    return np.float32(np.float64(np.int64(mantissa) * np.int64(factor)) * power)


@parallel
def matmul(
    exponents: I8,
    signs: I8,
    field: I32,
    magnitude: I32,
    negative: I32,
    starts: I32,
    shifts: I32,
    scales: I32,
    corrections: I32,
    row_scales: F32,
    ones_mantissa: I32,
    ones_exponent: I32,
    powers: NDArray[np.float64],
    ones_powers: NDArray[np.float64],
    bits: int,
    excess: int,
) -> tuple[F32, int]:
    """Outputs ``[tokens, out]`` and the number of steps that had a product.

    Args:
        exponents: Terms from ``decode_terms``, ``[tiles, blocks, steps, lanes, ROWS]``.
        signs: As ``exponents``.
        field: Activation exponents ``[tokens, blocks, lanes]``, ``NOTHING`` for zeros.
        magnitude: Activation mantissas with the guard bits below, same shape.
        negative: -1 for negative activations, same shape.
        starts: First block of each group, and the end, ``[groups + 1]``.
        shifts: Significance of each step.
        scales: 8-bit scales ``[out, groups]``.
        corrections: ``scale * (offset - zero)``, ``[out, groups]``; one column of 0 if symmetric.
        row_scales: ``[out]`` float32.
        ones_mantissa: Sums of activations ``[tokens, groups]``, with ``ones_exponent``.
        ones_exponent: As ``ones_mantissa``.
        powers: ``2^(exponent - point + unit)`` for every accumulator exponent.
        ones_powers: The same without the format's unit.
        bits: Accumulator magnitude bits.
        excess: Bits that a sum can exceed them by.
    """
    rows, tokens, tiles = scales.shape[0], field.shape[0], exponents.shape[0]
    groups, asymmetric = starts.size - 1, corrections.shape[1] == scales.shape[1]
    out = np.zeros((tokens, rows), np.float32)
    busy = np.zeros(tiles, np.int64)
    for tile in numba.prange(tiles):
        mantissa, exponent = np.empty(ROWS, np.int32), np.empty(ROWS, np.int32)
        scratch = np.empty((3, ROWS), np.int32)
        base, used = tile * ROWS, min(ROWS, rows - tile * ROWS)
        for g in range(groups):
            a, b = starts[g], starts[g + 1]
            for token in range(tokens):
                busy[tile] += _group(
                    exponents[tile, a:b],
                    signs[tile, a:b],
                    field[token, a:b],
                    magnitude[token, a:b],
                    negative[token, a:b],
                    shifts,
                    bits,
                    excess,
                    mantissa,
                    exponent,
                    scratch,
                )
                for r in range(used):
                    row = base + r
                    out[token, row] += _fp32(mantissa[r], scales[row, g], powers[exponent[r]])
                    if asymmetric:
                        power = ones_powers[ones_exponent[token, g]]
                        out[token, row] += _fp32(
                            ones_mantissa[token, g], corrections[row, g], power
                        )
        for token in range(tokens):
            for r in range(used):
                out[token, base + r] *= row_scales[base + r]
    return out, busy.sum()


@jit
def activation_sums(
    field: I32, magnitude: I32, negative: I32, starts: I32, bits: int, excess: int
) -> tuple[I32, I32]:
    """Sum of each group's activations by the PE's stages, weights 1: mantissas and exponents."""
    tokens, lanes, groups = field.shape[0], field.shape[2], starts.size - 1
    mantissas = np.zeros((tokens, groups), np.int32)
    exponents = np.zeros((tokens, groups), np.int32)
    terms, signs = np.zeros((1, 1, lanes, ROWS), np.int8), np.zeros((1, 1, lanes, ROWS), np.int8)
    shifts, scratch = np.zeros(1, np.int32), np.empty((2, ROWS), np.int32)
    mantissa, exponent = np.zeros(ROWS, np.int32), np.zeros(ROWS, np.int32)
    for token in range(tokens):
        for g in range(groups):
            total = np.int32(0)
            top = np.int32(0)
            for block in range(starts[g], starts[g + 1]):
                f, m, n = field[token, block], magnitude[token, block], negative[token, block]
                _products(terms[0, 0], signs[0, 0], f, m, n, scratch[0], scratch[1])
                mantissa[0], exponent[0] = total, top
                _accumulate(mantissa, exponent, scratch[1], scratch[0], shifts[0], bits, excess)
                total, top = mantissa[0], exponent[0]
            mantissas[token, g], exponents[token, g] = total, top
    return mantissas, exponents
