"""The PE's arithmetic at full speed, for four lanes and magnitudes of at most 14 bits.

Each stage is a loop over the 64 rows of a tile in the narrowest integers that hold it, so that an
AVX-512 vector has 32 rows in stages 1 and 2 and 16 in stage 3:

* Exponents and magnitudes are int16, and so is the sum of two products (``2 * (2^14 - 1)``).
  The two sums meet in int32.
* An arithmetic shift by ``min(amount, width - 1)`` is one instruction, and a count of leading
  zeros finds any number of excess bits at once.
* The terms of a step lie in one array and the sums in another, at constant distances: a loop
  takes one check that they do not overlap.

Every operation is cast back to its type, since numba would widen it to 64 bits. A tile goes over
its weights in chunks, whose terms stay in the first-level cache while all tokens pass over them;
the accumulators of a token wait in ``states`` meanwhile.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic, overload
from numpy.typing import NDArray

from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.operands import I32
from hwsim.pe.terms import TermTable
from quant.common.jit import OPTIONS, Kernel, cached, jit, parallel
from quant.formats.elements import F32
from quant.rounding.packing import U8

I16 = NDArray[np.int16]
F64 = NDArray[np.float64]
ROWS = 64
"""Rows of a tile."""
LANES = 4
MAGNITUDE_BITS = 14
"""Bits of a shifted mantissa: two of them add up in int16."""
CHUNK = 64
"""Weights of a row that are decoded at once: 32 KiB of terms at two steps."""
FLOAT64_BIAS, FLOAT64_FRACTION = 1023, 52
NO_TERM, MINUS = 1 << 6, 1 << 7
"""Bits of a packed term above its exponent."""


def fits(rule: Arithmetic) -> bool:
    """Whether these kernels run an arithmetic."""
    magnitude = rule.activations.mantissa_bits + rule.guard_bits
    return rule.lanes == LANES and magnitude <= MAGNITUDE_BITS


def packed_terms(table: TermTable) -> I16:
    """All terms of a code, a byte each, two steps in a word: ``[pairs, selectors, codes]``."""
    byte = table.exp | np.where(table.man > 0, 0, NO_TERM) | np.where(table.sign > 0, MINUS, 0)
    pairs = (table.steps + 1) // 2
    words = np.zeros((pairs, *byte.shape[:2]), np.uint16)
    for step in range(table.steps):
        words[step // 2] |= byte[..., step].astype(np.uint16) << (8 * (step % 2))
    return words.view(np.int16)


def _inlined(kernel: Kernel) -> Kernel:
    """``jit`` for a stage: LLVM then keeps what steps share in registers."""
    return cached(kernel, OPTIONS | {"forceinline": True})


def _leading_zeros(value: np.int32) -> np.int32:
    """Zeros above the highest one-bit of 32."""
    return np.int32(32 - int(value).bit_length())


@intrinsic  # type: ignore[untyped-decorator]
def _ctlz(_context: Any, _value: Any) -> Any:  # noqa: ANN401  numba's own types
    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:  # noqa: ANN401
        word, flag = ir.IntType(32), ir.IntType(1)
        kind = ir.FunctionType(word, [word, flag])
        count = builder.module.declare_intrinsic("llvm.ctlz", [word], kind)
        return builder.call(count, [arguments[0], flag(0)])

    return types.int32(types.int32), generate


@overload(_leading_zeros, strict=False)  # type: ignore[untyped-decorator]
def _compiled_leading_zeros(value: Any) -> Any:  # noqa: ANN401
    return lambda value: _ctlz(value)  # noqa: PLW0108  numba takes Python functions only


@_inlined
def _right16(value: np.int16, amount: np.int16) -> np.int16:
    return np.int16(value >> min(np.uint16(amount), np.uint16(15)))


@_inlined
def _right32(value: np.int32, amount: np.int32) -> np.int32:
    return np.int32(value >> min(np.uint32(amount), np.uint32(31)))


@_inlined
def _products(terms: I16, block: I16, sums: I16) -> None:
    """Stages 1 and 2 of one step: ``sums`` takes exponents and two sums of two products.

    Args:
        terms: Four exponents, four sign masks, each of ``ROWS``.
        block: Exponents, magnitudes and sign masks of four activations.
        sums: Largest exponents, sums of lanes 0 and 1, of 2 and 3, counts of busy steps: each of
            ``ROWS``.
    """
    f0, f1, f2, f3 = block[0], block[1], block[2], block[3]
    m0, m1, m2, m3 = block[4], block[5], block[6], block[7]
    n0, n1, n2, n3 = block[8], block[9], block[10], block[11]
    for r in range(ROWS):
        v0, v1 = np.int16(f0 + terms[r]), np.int16(f1 + terms[ROWS + r])
        v2, v3 = np.int16(f2 + terms[2 * ROWS + r]), np.int16(f3 + terms[3 * ROWS + r])
        top = max(v0, v1, v2, v3, np.int16(0))
        s0, s1 = np.int16(n0 ^ terms[4 * ROWS + r]), np.int16(n1 ^ terms[5 * ROWS + r])
        s2, s3 = np.int16(n2 ^ terms[6 * ROWS + r]), np.int16(n3 ^ terms[7 * ROWS + r])
        p0 = np.int16(_right16(m0, np.int16(top - v0)) ^ s0)
        p1 = np.int16(_right16(m1, np.int16(top - v1)) ^ s1)
        p2 = np.int16(_right16(m2, np.int16(top - v2)) ^ s2)
        p3 = np.int16(_right16(m3, np.int16(top - v3)) ^ s3)
        sums[r] = top
        sums[ROWS + r] = np.int16(np.int16(p0 + p1) - np.int16(s0 + s1))
        sums[2 * ROWS + r] = np.int16(np.int16(p2 + p3) - np.int16(s2 + s3))
        sums[3 * ROWS + r] = np.int16(sums[3 * ROWS + r] + np.int16(top > 0))


@_inlined
def _accumulate(sums: I16, state: I32, shift: int, bits: int) -> None:
    """Stage 3 of one step; ``state`` has ``ROWS`` mantissas, then as many exponents."""
    left, room, full = np.uint32(shift & 31), np.int32(32 - bits), np.int32((1 << bits) - 1)
    for r in range(ROWS):
        coming, here = np.int32(sums[r]), state[ROWS + r]
        total = np.int32(np.int32(sums[ROWS + r]) + np.int32(sums[2 * ROWS + r]))
        top = max(here, coming)
        held = _right32(state[r], np.int32(top - here))
        wide = np.int32(held + _right32(np.int32(total << left), np.int32(top - coming)))
        # A step without a product changes nothing, not even an accumulator of -2^bits.
        size = max(np.int32(abs(wide)), full)
        size = size if coming > 0 else full
        over = np.int32(room - _leading_zeros(size))
        state[r] = _right32(wide, over)
        state[ROWS + r] = np.int32(top + over)


@jit
def _chunk(terms: I16, blocks: I16, shifts: I32, bits: int, sums: I16, state: I32) -> None:
    """All steps of some blocks; ``sums[3 * ROWS:]`` counts those that had a product."""
    slots = (shifts.size + 1) // 2 * 2
    sums[3 * ROWS :] = 0
    for block in range(blocks.shape[0]):
        for step in range(shifts.size):
            _products(terms[block * slots + step], blocks[block], sums)
            _accumulate(sums, state, shifts[step], bits)


@jit
def _look_up(codes: U8, selectors: U8, entries: I16, words: I16) -> None:
    """Packed terms of a pair of steps: ``codes [rows, columns]`` to ``words [columns, ROWS]``."""
    for r in range(codes.shape[0]):
        row, entry = codes[r], entries[selectors[r]]
        for column in range(codes.shape[1]):
            words[column, r] = entry[row[column]]


@jit
def _unpack(words: I16, columns: int, pair: int, pairs: int, terms: I16) -> None:
    """Exponents and sign masks of a pair of steps, from the two bytes of a word."""
    for column in range(columns):
        block, lane = column // LANES, column % LANES
        word, at = words[column], 2 * (block * pairs + pair)
        low, high = terms[at], terms[at + 1]
        for r in range(ROWS):
            # A missing term's -16 * NO_TERM is below the negative of any activation's exponent.
            both = word[r]
            least = np.int16(both << 8)
            low[ROWS * lane + r] = np.int16(
                np.int16(both & 31) - np.int16((both << 4) & (16 * NO_TERM))
            )
            low[ROWS * (LANES + lane) + r] = np.int16(least >> 15)
            high[ROWS * lane + r] = np.int16(
                np.int16((both >> 8) & 31) - np.int16((both >> 4) & (16 * NO_TERM))
            )
            high[ROWS * (LANES + lane) + r] = np.int16(both >> 15)


@jit
def _dequantize(state: I32, point: int, scales: F64, out: F32) -> None:
    """Stage 4 of a tile and token: ``out [rows]`` takes the group's results."""
    bias = np.int32(FLOAT64_BIAS - point)
    for r in range(out.size):
        # 2^(exponent - point) by its bits: a table would be read one number at a time.
        field = np.int64(np.int32(state[ROWS + r] + bias))
        power = np.int64(field << FLOAT64_FRACTION).view(np.float64)
        out[r] += np.float32(np.float64(state[r]) * power * scales[r])


@parallel
def matmul(
    codes: U8,
    selectors: U8,
    group_size: int,
    table: I16,
    shifts: I32,
    activations: I16,
    starts: I32,
    scales: F64,
    corrections: F64,
    ones: F64,
    point: int,
    bits: int,
) -> tuple[F32, int]:
    """Group results added in FP32 ``[tokens, out]`` and the number of steps that had a product.

    Args:
        codes: ``[out, in]``.
        selectors: ``[out, groups]``.
        group_size: Weights of a group.
        table: From ``packed_terms``.
        shifts: Significance of each step.
        activations: ``[tokens, blocks, 12]``: exponents (that of a zero so low that the alignment
            removes its product), magnitudes with the guard bits, and sign masks of four lanes.
        starts: First block of each group, and the end, ``[groups + 1]``.
        scales: Group scales times the format's unit, ``[out, groups]``, exact.
        corrections: Scales of the activation sums, ``[out, groups]``; no column if symmetric.
        ones: Activation sums of the groups, ``[tokens, groups]``, exact.
        point: The value of an accumulator is ``mantissa * 2^(exponent - point)``.
        bits: Accumulator magnitude bits.
    """
    (rows, columns), tokens = codes.shape, activations.shape[0]
    tiles = (rows + ROWS - 1) // ROWS
    out = np.zeros((tokens, rows), np.float32)
    busy = np.zeros(tiles, np.int64)
    for tile in numba.prange(tiles):
        base = tile * ROWS
        end = min(base + ROWS, rows)
        words = np.zeros((CHUNK, ROWS), np.int16)
        terms = np.zeros((CHUNK // LANES * 2 * table.shape[0], 2 * LANES * ROWS), np.int16)
        sums, states = np.zeros(4 * ROWS, np.int16), np.zeros((tokens, 2 * ROWS), np.int32)
        for g in range(starts.size - 1):
            choice, stop = selectors[base:end, g], min((g + 1) * group_size, columns)
            states[:] = 0
            for first in range(g * group_size, stop, CHUNK):
                last, a = min(first + CHUNK, stop), starts[g] + (first - g * group_size) // LANES
                b = min(a + CHUNK // LANES, starts[g + 1])
                for pair in range(table.shape[0]):
                    _look_up(codes[base:end, first:last], choice, table[pair], words)
                    _unpack(words, last - first, pair, table.shape[0], terms)
                for token in range(tokens):
                    _chunk(terms, activations[token, a:b], shifts, bits, sums, states[token])
                    busy[tile] += sums[3 * ROWS : 3 * ROWS + end - base].sum()
            scale = scales[base:end, g].copy()
            for token in range(tokens):
                line = out[token, base:end]
                _dequantize(states[token], point, scale, line)
                if corrections.shape[1] > 0:
                    for r in range(end - base):
                        line[r] += np.float32(ones[token, g] * corrections[base + r, g])
    return out, busy.sum()
