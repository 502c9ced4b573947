"""The PE's dot product again: int64 numpy over outputs x tokens, from docs/pe_arithmetic.md alone.

Of the PE it takes the term tables and the widths, nothing else: words are split here, and all
roundings are done here, by hand. ``cases.py`` compares the kernels and the reference with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.terms import TermTable, term_table
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor
from tests.verification.finding import Finding
from tests.verification.tensors import F64, LAYOUT, Words

I64 = NDArray[np.int64]
FP32, FP16 = (24, -149, 128), (11, -24, 16)
"""Precision, exponent of the smallest subnormal, first power of two that overflows."""


@dataclass(frozen=True)
class Inputs:
    """Split activations, each ``[tokens, in]``: value ``(-1)^sign * m * 2^(e - point)``."""

    sign: I64
    e: I64
    m: I64

    def part(self, start: int, stop: int) -> Inputs:
        """Return some columns."""
        take = slice(start, stop)
        return Inputs(self.sign[:, take], self.e[:, take], self.m[:, take])


@dataclass(frozen=True)
class Sums:
    """Group accumulators, each ``[tokens, out]``; ``busy`` counts steps that had a product."""

    mantissa: I64
    exponent: I64
    busy: I64


def split(words: Words, activation: str) -> Inputs:
    """Return the parts of finite words."""
    raw = words.astype(np.int64)
    if activation == "int8":
        value = np.where(raw >= 128, raw - 256, raw)
        return Inputs(np.where(value < 0, 1, 0), np.ones_like(raw), abs(value))
    exponent, fraction = LAYOUT[activation]
    field = raw // 2**fraction % 2**exponent
    hidden = np.where(field > 0, 2**fraction, 0)
    e = np.where(field > 0, field, 1)
    return Inputs(raw // 2 ** (exponent + fraction), e, raw % 2**fraction + hidden)


def point(rule: Arithmetic) -> int:
    """Return the exponent at which an accumulator of 1 has the value 1."""
    if rule.activation == "int8":
        return 1 + rule.guard_bits
    exponent, fraction = LAYOUT[rule.activation]
    bias = (1 << (exponent - 1)) - 1
    return bias + fraction + rule.guard_bits


def add_step(
    held: I64, at: I64, inputs: Inputs, terms: tuple[I64, I64, I64], shift: int, rule: Arithmetic
) -> tuple[I64, I64, I64]:
    """Stages 1 to 3 of one step: new accumulators, their exponents, and where a product was.

    Args:
        held: Accumulators ``[tokens, out]``.
        at: Their exponents.
        inputs: Columns of the block, ``[tokens, columns]``.
        terms: Sign, ``man`` and ``exp``, each ``[out, columns]``.
        shift: Significance of the step.
        rule: Widths.
    """
    sign, man, exp = (np.ascontiguousarray(part.T)[:, None, :] for part in terms)
    s, e, m = (
        np.ascontiguousarray(part.T)[:, :, None] for part in (inputs.sign, inputs.e, inputs.m)
    )
    v = np.where((man > 0) & (m > 0), e + exp, -1)
    top = v.max(axis=0)
    magnitude = (m * 2**rule.guard_bits) >> np.minimum(top - v, 62)
    magnitude *= v >= 0
    total = np.where(s != sign, -magnitude, magnitude).sum(axis=0) * 2**shift
    common = np.maximum(at, top)
    wide = (held >> np.minimum(common - at, 62)) + (total >> np.minimum(common - top, 62))
    length = np.frexp(abs(wide).astype(np.float64))[1].astype(np.int64)
    over = np.maximum(length - rule.accumulator_bits, 0)
    busy = top >= 0
    return np.where(busy, wide >> over, held), np.where(busy, common + over, at), busy


def group_sums(
    codes: U8, selectors: U8, inputs: Inputs, table: TermTable, rule: Arithmetic
) -> Sums:
    """Run one group: ``codes [out, n]``, ``selectors [out]``, inputs ``[tokens, n]``."""
    rows, n = codes.shape
    held, at, busy = (np.zeros((len(inputs.m), rows), np.int64) for _ in range(3))
    chosen = [part[selectors[:, None], codes] for part in (table.sign, table.man, table.exp)]
    for start in range(0, n, rule.lanes):
        stop = min(start + rule.lanes, n)
        block = inputs.part(start, stop)
        for step, shift in enumerate(table.significance):
            sign, man, exp = (part[:, start:stop, step].astype(np.int64) for part in chosen)
            held, at, used = add_step(held, at, block, (sign, man, exp), shift, rule)
            busy += used
    return Sums(held, at, busy)


def input_sums(inputs: Inputs, rule: Arithmetic) -> Sums:
    """The sum of a group's activations, every weight 1: ``[tokens, 1]``."""
    held, at, busy = (np.zeros((len(inputs.m), 1), np.int64) for _ in range(3))
    for start in range(0, inputs.m.shape[1], rule.lanes):
        block = inputs.part(start, start + rule.lanes)
        zero = np.zeros((1, block.m.shape[1]), np.int64)
        held, at, _ = add_step(held, at, block, (zero, zero + 1, zero), 0, rule)
    return Sums(held, at, busy)


def rounded(exact: F64, to: tuple[int, int, int]) -> F64:
    """Round numbers to nearest, ties to even; too large ones to infinity. NaN and Inf stay."""
    precision, least, overflow = to
    last = np.maximum(np.frexp(exact)[1] - precision, least)
    result = np.ldexp(np.rint(np.ldexp(exact, -last)), last)
    large = np.isfinite(exact) & (abs(result) >= 2.0**overflow)
    return np.where(large, np.copysign(np.inf, exact), np.where(np.isfinite(exact), result, exact))


def scale_parts(weight: QuantizedTensor) -> tuple[I64, I64, F64]:
    """Group scales as ``integer * 2^power`` ``[out, groups]``, and the rows' factors ``[out]``."""
    stored = weight.scales.astype(np.int64)
    if weight.spec.scale.name == "int8":
        assert weight.row_scales is not None
        return stored, np.zeros_like(stored), weight.row_scales.astype(np.float64)
    factor = 1.0 if weight.tensor_scale is None else float(weight.tensor_scale[0])
    factors = np.full(len(stored), factor)
    if weight.spec.scale.name == "e8m0":
        return np.ones_like(stored), stored - 127, factors
    field, fraction = stored // 8, stored % 8
    integer = np.where(field > 0, fraction + 8, fraction)
    return integer, np.where(field > 0, field, 1) - 10, factors


def output(
    weight: QuantizedTensor, words: Words, rule: Arithmetic, to: tuple[int, int, int] = FP32
) -> tuple[F64, int]:
    """Return ``y [tokens, out]`` as the PE should give it, and how many steps had a product."""
    table = term_table(weight.spec.format.name, rule.exponent_bits)
    codes, selectors = weight.unpack_codes(), weight.group_selectors()
    inputs, size = split(words, rule.activation), min(weight.spec.group_size, weight.shape[1])
    integers, powers, factors = scale_parts(weight)
    total, busy = np.zeros((len(words), len(codes))), 0
    for group in range(integers.shape[1]):
        start, stop = group * size, min((group + 1) * size, codes.shape[1])
        part = inputs.part(start, stop)
        sums = group_sums(codes[:, start:stop], selectors[:, group], part, table, rule)
        busy += int(sums.busy.sum())
        scale, power = integers[:, group], powers[:, group] - point(rule)
        total = _added(total, sums, scale, power + table.unit_exponent)
        if weight.zero_points is not None:
            offset: Any = table.offset - weight.zero_points[:, group].astype(np.int64)
            total = _added(total, input_sums(part, rule), offset * scale, power)
    with np.errstate(invalid="ignore"):
        y = rounded(total * factors, to)
        # A factor of 0 gives +0 and leaves Inf and NaN (docs/pe_arithmetic.md, 5).
        y = np.where(factors == 0, np.where(np.isfinite(total), 0.0, total), y)
    return np.where(np.isnan(y), np.nan, y), busy


def _added(total: F64, sums: Sums, scale: I64, power: I64) -> F64:
    """A dequantized group, rounded to FP32 and added in FP32."""
    exact = np.ldexp((sums.mantissa * scale).astype(np.float64), sums.exponent + power)
    with np.errstate(invalid="ignore"):
        return rounded(total + rounded(exact, FP32), FP32)


def run(scale: str) -> list[Finding]:
    """Return what was compared with this oracle: random groups (``campaign.py``) and corners."""
    from tests.verification import campaign, corners

    return [*campaign.run(scale), *corners.run(scale)]
