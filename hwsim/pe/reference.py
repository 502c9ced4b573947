"""The PE's arithmetic in plain Python integers: the specification in code.

Every function is one stage of docs/pe_arithmetic.md, one value at a time. Nothing here is shared
with the fast kernels, so that a fault in one cannot hide in the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from typing import NamedTuple

from hwsim.pe.activations import ACTIVATIONS, ActivationFormat
from hwsim.pe.arithmetic import Arithmetic, check_group
from hwsim.pe.terms import TermTable


class Binary(NamedTuple):
    """An IEEE 754 format of results.

    Precision with the hidden bit, exponent of the last place of subnormals, and the first power
    of two that overflows.
    """

    precision: int
    least: int
    overflow: int


FP32, FP16 = Binary(24, -149, 128), Binary(11, -24, 16)


@dataclass(frozen=True)
class Activation:
    """A finite number: value ``(-1)^sign * mantissa * 2^(exponent - point)`` of its format.

    ``exponent`` is the biased field, 1 for subnormals and integers; ``mantissa`` has the hidden
    bit.
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


class Group(NamedTuple):
    """The weights of a group and its scale ``scale * 2^scale_exponent``."""

    codes: Sequence[int]
    selector: int
    scale: int
    scale_exponent: int
    zero_point: int


def decode(word: int, format_: ActivationFormat) -> Activation:
    """Split a word. Infinity and NaN are not PE inputs: ValueError."""
    if format_.element is None:
        value = word - 256 if word >= 128 else word
        return Activation(int(value < 0), 1, abs(value))
    width, exponent_bits = format_.element.mantissa_bits, format_.element.exponent_bits
    field, fraction = word >> width & 2**exponent_bits - 1, word & 2**width - 1
    all_ones = field == 2**exponent_bits - 1
    if all_ones and (format_.element.has_infinity or fraction == 2**width - 1):
        raise ValueError(f"{format_.name} word {word:#06x} is infinite or NaN")
    hidden = 2**width if field else 0
    return Activation(word >> (format_.bits - 1), max(field, 1), hidden | fraction)


def decode_fp16(word: int) -> Activation:
    """Split an FP16 word. Infinity and NaN (field 31) are not PE inputs: ValueError."""
    return decode(word, ACTIVATIONS["fp16"])


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
    """Run one group: blocks of lanes outer, terms inner.

    Raises:
        RequestError: more steps than the accumulator's exponent is made for.
    """
    check_group(rule, len(codes), table.steps, table.format)
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
    """The sum of a group's activations, by the same stages with every weight 1.

    Raises:
        RequestError: more steps than the accumulator's exponent is made for.
    """
    check_group(rule, len(activations), 1, "ones")
    partial = Partial()
    for block in _blocks(activations, rule.lanes):
        result = multiply(block, [(0, 1, 0)] * len(block), rule)
        if result is not None:
            partial = accumulate(partial, *result, rule)
    return partial


def dot(
    activations: Sequence[Activation],
    groups: Sequence[Group],
    factor: float,
    table: TermTable,
    rule: Arithmetic,
    output: Binary = FP32,
) -> tuple[float, int, int]:
    """One output: group results dequantized and added in FP32, the row's factor once at the end.

    Args:
        activations: The whole row of inputs.
        groups: In order.
        factor: The row's scale, an FP32 number; 1 where rows have none.
        table: Terms of the format.
        rule: Widths.
        output: Format of the result.

    Returns:
        The output, the PE cycles, and how many of them had a product.
    """
    total, at, steps, busy = 0.0, 0, 0, 0
    for group in groups:
        inputs = activations[at : at + len(group.codes)]
        at += len(group.codes)
        result = group_sum(inputs, group.codes, group.selector, table, rule)
        steps, busy = steps + result.steps, busy + result.busy_steps
        power = group.scale_exponent - rule.point
        unit = power + table.unit_exponent
        total = add(total, dequantize(result.partial, group.scale, unit))
        if table.offset:
            ones = activation_sum(inputs, rule)
            correction = (table.offset - group.zero_point) * group.scale
            total = add(total, dequantize(ones, correction, power))
    return multiply_rounded(total, factor, output), steps, busy


def dequantize(partial: Partial, scale: int, power: int) -> float:
    """A group result times its integer scale times ``2^power``: exact, then rounded to FP32."""
    exact = Fraction(partial.mantissa * scale) * Fraction(2) ** (partial.exponent + power)
    return rounded(exact, FP32)


def add(a: float, b: float) -> float:
    """IEEE 754 addition of two FP32 numbers."""
    if not (math.isfinite(a) and math.isfinite(b)) or a == b == 0:
        return a + b
    return rounded(Fraction(a) + Fraction(b), FP32)


def multiply_rounded(a: float, b: float, output: Binary) -> float:
    """IEEE 754 product of an FP32 number and a factor, rounded once to the output's format.

    A factor of 0 gives +0, of a sum that is finite; it leaves another as it is.
    """
    if b == 0:
        return 0.0 if math.isfinite(a) else a
    if not (math.isfinite(a) and math.isfinite(b)) or a == 0 or b == 0:
        return a * b
    return rounded(Fraction(a) * Fraction(b), output)


def rounded(value: Fraction, to: Binary) -> float:
    """Round an exact value to nearest, ties to even; to infinity above the largest number.

    A negative value that rounds to zero gives -0; an exact zero gives +0.
    """
    if value == 0:
        return 0.0
    magnitude = abs(value)
    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if magnitude < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** max(exponent - to.precision + 1, to.least)
    result = round(magnitude / step) * step
    number = math.inf if result >= Fraction(2) ** to.overflow else float(result)
    return math.copysign(number, -1 if value < 0 else 1)


def _term(table: TermTable, selector: int, code: int, step: int) -> tuple[int, int, int]:
    at = (selector, code, step)
    return int(table.sign[at]), int(table.man[at]), int(table.exp[at])


def _blocks(items: Sequence[Activation], size: int) -> Iterator[list[Activation]]:
    iterator = iter(items)
    while block := list(islice(iterator, size)):
        yield block
