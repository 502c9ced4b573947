"""The PE's arithmetic in plain Python integers: the specification in code.

Every function is one stage of docs/pe_arithmetic.md, one value at a time. Nothing here is shared
with the fast kernels, so that a fault in one cannot hide in the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice

from hwsim.pe.arithmetic import FP16_FRACTION, Arithmetic
from hwsim.pe.terms import TermTable

FP32_BITS, FP32_LEAST = 24, -149


@dataclass(frozen=True)
class Activation:
    """An FP16 number: value ``(-1)^sign * mantissa * 2^(exponent - 25)``.

    ``exponent`` is the biased field, 1 for subnormals; ``mantissa`` has the hidden bit (11 bits).
    """

    sign: int
    exponent: int
    mantissa: int


@dataclass(frozen=True)
class Partial:
    """A group accumulator: value ``mantissa * 2^(exponent - point)``."""

    mantissa: int = 0
    exponent: int = 0


@dataclass(frozen=True)
class GroupSum:
    """What a group leaves in the accumulator, the steps it took and how many had a product."""

    partial: Partial
    steps: int
    busy_steps: int


def decode_fp16(word: int) -> Activation:
    """Split a 16-bit word. Infinity and NaN (field 31) are not PE inputs: ValueError."""
    field = word >> FP16_FRACTION & 31
    if field == 31:
        raise ValueError(f"FP16 word {word:#06x} is infinite or NaN")
    hidden = 1 if field else 0
    fraction = word & (2**FP16_FRACTION - 1)
    return Activation(word >> 15, max(field, 1), hidden << FP16_FRACTION | fraction)


def multiply(
    activations: Sequence[Activation], terms: Sequence[tuple[int, int, int]], rule: Arithmetic
) -> tuple[int, int] | None:
    """One step: the lanes' products aligned, truncated and added.

    Args:
        activations: One a lane.
        terms: ``(sign, man, exp)``, one a lane.
        rule: Widths.

    Returns:
        ``(sum, exponent)`` before the step's significance; None if all products are zero.
    """
    products = [
        (a.exponent + exp, a.mantissa, a.sign ^ sign)
        for a, (sign, man, exp) in zip(activations, terms, strict=True)
        if man and a.mantissa
    ]
    if not products:
        return None
    largest = max(exponent for exponent, _, _ in products)
    total = 0
    for exponent, mantissa, negative in products:
        magnitude = (mantissa << rule.guard_bits) >> (largest - exponent)
        total += -magnitude if negative else magnitude
    return total, largest


def accumulate(partial: Partial, total: int, exponent: int, rule: Arithmetic) -> Partial:
    """Add a step's sum, its significance already applied; the smaller exponent gives way."""
    largest = max(partial.exponent, exponent)
    wide = (partial.mantissa >> (largest - partial.exponent)) + (total >> (largest - exponent))
    excess = max(0, abs(wide).bit_length() - rule.accumulator_bits)
    return Partial(wide >> excess, largest + excess)


def group_sum(
    activations: Sequence[Activation],
    codes: Sequence[int],
    selector: int,
    table: TermTable,
    rule: Arithmetic,
) -> GroupSum:
    """Run one group: blocks of lanes outer, terms inner."""
    partial, steps, busy = Partial(), 0, 0
    for start in range(0, len(codes), rule.lanes):
        block = slice(start, start + rule.lanes)
        for step, significance in enumerate(table.significance):
            terms = [_term(table, selector, code, step) for code in codes[block]]
            result = multiply(activations[block], terms, rule)
            steps += 1
            if result is not None:
                busy += 1
                partial = accumulate(partial, result[0] << significance, result[1], rule)
    return GroupSum(partial, steps, busy)


def activation_sum(activations: Sequence[Activation], rule: Arithmetic) -> Partial:
    """The sum of a group's activations, by the same stages with every weight 1."""
    partial = Partial()
    for block in _blocks(activations, rule.lanes):
        result = multiply(block, [(0, 1, 0)] * len(block), rule)
        if result is not None:
            partial = accumulate(partial, *result, rule)
    return partial


def dot(
    activations: Sequence[Activation],
    groups: Sequence[tuple[Sequence[int], int, int, int]],
    row_scale: float,
    table: TermTable,
    rule: Arithmetic,
) -> tuple[float, int, int]:
    """One output: group results dequantized and added in FP32, the row scale once at the end.

    Args:
        activations: The whole row of inputs.
        groups: ``(codes, selector, scale 1..255, zero point)`` in order.
        row_scale: The row's FP16 scale.
        table: Terms of the format.
        rule: Widths.

    Returns:
        The FP32 output, the PE cycles, and how many of them had a product.
    """
    total, at, steps, busy = Fraction(0), 0, 0, 0
    for codes, selector, scale, zero in groups:
        inputs = activations[at : at + len(codes)]
        at += len(codes)
        group = group_sum(inputs, codes, selector, table, rule)
        steps, busy = steps + group.steps, busy + group.busy_steps
        total = round_fp32(total + _scaled(group.partial, scale, table.unit_exponent, rule))
        if table.offset:
            ones = activation_sum(inputs, rule)
            correction = (table.offset - zero) * scale
            total = round_fp32(total + _scaled(ones, correction, 0, rule))
    return float(round_fp32(total * Fraction(row_scale))), steps, busy


def round_fp32(value: Fraction) -> Fraction:
    """Round an exact value to the nearest FP32 number, ties to even (no overflow occurs here)."""
    if value == 0:
        return value
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** max(exponent - FP32_BITS + 1, FP32_LEAST)
    return round(value / step) * step


def _scaled(partial: Partial, scale: int, unit_exponent: int, rule: Arithmetic) -> Fraction:
    """The group result times its integer scale: exact, then rounded to FP32."""
    power = partial.exponent - rule.point + unit_exponent
    return round_fp32(Fraction(partial.mantissa * scale) * Fraction(2) ** power)


def _term(table: TermTable, selector: int, code: int, step: int) -> tuple[int, int, int]:
    at = (selector, code, step)
    return int(table.sign[at]), int(table.man[at]), int(table.exp[at])


def _blocks(items: Sequence[Activation], size: int) -> Iterator[list[Activation]]:
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block
