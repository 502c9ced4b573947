"""A quantized weight times activations in the PE's arithmetic at speed, equal to the reference.

Numba, vectorised over output rows. A tile of 64 rows is one task. Its weights are decoded a part
at a time into terms laid out by block, step, lane and row, so that the inner loops run over rows
with unit stride, and every token passes over them while they are in the cache. A term without a
one-bit, and an activation of zero, carry an exponent so low (``NOTHING``) that the alignment shift
removes the product and the maximum never sees it: no branches. ``docs/pe_arithmetic.md`` gives the
arithmetic, ``hwsim.pe.reference`` the same in plain integers. There are two sets of kernels: for
any parameters, and ten times as fast for common ones.
"""

from __future__ import annotations

import numpy as np

from hwsim.pe.activations import Fields
from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.kernels import general, narrow
from hwsim.pe.kernels.general import F64, NOTHING
from hwsim.pe.operands import I32, Weights
from quant.formats.elements import F32


def run(weight: Weights, fields: Fields, starts: I32, rule: Arithmetic) -> tuple[F32, int]:
    """Group results added in FP32, ``[tokens, out]``, before the row factors.

    Also the number of steps that had a product, over outputs and tokens.
    """
    exponents, magnitudes, negatives = _blocks(fields, weight.size, starts, rule)
    bits, excess = rule.accumulator_bits, rule.wide_bits - rule.accumulator_bits
    table, groups = weight.table, starts.size - 1
    shifts = np.array(table.significance, np.int32)
    powers = np.ldexp(1.0, np.arange(1 << rule.accumulator_exponent_bits) - rule.point)
    scales = np.ldexp(weight.scales.astype(np.float64), weight.scale_exponents)
    corrections: F64 = np.zeros((len(scales), 0))
    ones: F64 = np.zeros((len(exponents), groups))
    if weight.corrections is not None:
        corrections = np.ldexp(weight.corrections.astype(np.float64), weight.scale_exponents)
        totals, at = general.activation_sums(exponents, magnitudes, negatives, starts, bits)
        ones = totals.astype(np.float64) * powers[at]
    scales *= 2.0**table.unit_exponent
    if narrow.fits(rule):
        blocks = np.concatenate([exponents, magnitudes, negatives], axis=2).astype(np.int16)
        return narrow.matmul(
            weight.codes, weight.selectors, weight.size, narrow.packed_terms(table), shifts,
            blocks, starts, scales, corrections, ones, rule.point, bits,
        )  # fmt: skip
    return general.matmul(
        weight.codes, weight.selectors, weight.size, table.sign, table.man, table.exp, shifts,
        exponents, magnitudes, negatives, starts, scales, corrections, ones, powers, bits, excess,
    )  # fmt: skip


def _blocks(fields: Fields, size: int, starts: I32, rule: Arithmetic) -> tuple[I32, I32, I32]:
    """Exponents, shifted mantissas and sign masks, ``[tokens, blocks, lanes]`` int32."""
    column = np.arange(fields.sign.shape[1])
    slot = starts[column // size] * rule.lanes + column % size
    exponent = np.where(fields.mantissa > 0, fields.exponent, NOTHING)
    parts = []
    for values, empty in (
        (exponent, NOTHING),
        (fields.mantissa << rule.guard_bits, 0),
        (-fields.sign, 0),
    ):
        padded = np.full((len(values), int(starts[-1]) * rule.lanes), empty, np.int32)
        padded[:, slot] = values
        parts.append(padded.reshape(len(values), int(starts[-1]), rule.lanes))
    return parts[0], parts[1], parts[2]
