"""The error bounds of docs/pe_error_bound.md against rationals: never violated, and how tight."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hwsim.pe import ACTIVATIONS, PUBLISHED, Arithmetic, pe_formats, reference, term_table
from hwsim.pe.bounds import ONES, error_bound, worst_case
from hwsim.pe.terms import TermTable

RULES = [
    Arithmetic(),
    PUBLISHED,
    Arithmetic(guard_bits=0),
    Arithmetic(lanes=2, accumulator_bits=8),
    Arithmetic(lanes=8, guard_bits=8, accumulator_bits=20),
    Arithmetic(lanes=1, guard_bits=1, accumulator_bits=9),
]
Words = NDArray[np.uint16]


def errors(
    words: Words, codes: NDArray[Any], selector: int, table: TermTable, rule: Arithmetic
) -> tuple[Fraction, Fraction, Fraction]:
    """Exact less accumulated; the bound of this group; the sum of |products|."""
    form = rule.activations
    inputs = [reference.decode(int(word), form) for word in words]
    got = reference.group_sum(inputs, [int(c) for c in codes], selector, table, rule).partial
    products = [
        Fraction((-1) ** a.sign * a.mantissa * table.value(selector, int(code)))
        * Fraction(2) ** (a.exponent - form.point)
        for a, code in zip(inputs, codes, strict=True)
    ]
    result = Fraction(got.mantissa) * Fraction(2) ** (got.exponent - rule.point)
    bound = error_bound(form.fields(words), codes, selector, table, rule)
    return sum(products, Fraction(0)) - result, bound, sum(map(abs, products), Fraction(0))


def finite_words(rng: np.random.Generator, count: int, activation: str, spread: int) -> Words:
    form = ACTIVATIONS[activation]
    words = rng.integers(0, 1 << form.bits, count).astype(np.uint16)
    if form.element is not None:
        width, top = form.element.mantissa_bits, form.largest_exponent
        center = int(rng.integers(0, top + 1)) if spread < top else top // 2
        field = np.clip(center + rng.integers(-spread, spread + 1, count), 0, top)
        others = (1 << (form.bits - 1)) | ((1 << width) - 1)
        words = (words & others | field << width).astype(np.uint16)
    return np.where(form.fields(words).finite, words, 0).astype(np.uint16)


def allowed_codes(rng: np.random.Generator, count: int, table: TermTable) -> NDArray[np.intp]:
    return rng.choice(np.flatnonzero(table.has_value[0]), count)


def assert_kept(
    words: Words, codes: NDArray[Any], selector: int, table: TermTable, rule: Arithmetic
) -> None:
    error, bound, size = errors(words, codes, selector, table, rule)
    assert abs(error) <= bound
    limit = Fraction(worst_case(rule, table, len(codes))) * size
    assert bound <= limit * Fraction(1_000_001, 1_000_000)  # worst_case is a float


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", pe_formats())
def test_random_groups_keep_the_bounds(name: str, activation: str) -> None:
    rng, table = np.random.default_rng([*name.encode(), len(activation)]), term_table(name)
    for base in RULES:
        rule = replace(base, activation=activation, exponent_bits=table.exponent_bits)
        for spread in (0, 5, 40):
            words = finite_words(rng, 24, activation, spread)
            assert_kept(words, allowed_codes(rng, 24, table), 0, table, rule)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_group_with_any_widths_keeps_the_bounds(data: st.DataObject) -> None:
    table = term_table(data.draw(st.sampled_from(pe_formats())))
    lanes, guard = data.draw(st.integers(1, 8)), data.draw(st.integers(0, 8))
    bits, activation = data.draw(st.integers(8, 24)), data.draw(st.sampled_from([*ACTIVATIONS]))
    rule = Arithmetic(lanes, guard, bits, table.exponent_bits, activation)
    form, selectors = rule.activations, len(table.sign)
    count, selector = data.draw(st.integers(1, 40)), data.draw(st.integers(0, selectors - 1))
    word = st.integers(0, (1 << form.bits) - 1)
    drawn = np.array(data.draw(st.lists(word, min_size=count, max_size=count)), np.uint16)
    words = np.where(form.fields(drawn).finite, drawn, 0).astype(np.uint16)
    code = st.sampled_from(np.flatnonzero(table.has_value[selector]).tolist())
    codes = np.array(data.draw(st.lists(code, min_size=count, max_size=count)))
    assert_kept(words, codes, selector, table, rule)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("rule", RULES)
def test_the_sum_of_activations_keeps_the_bounds(rule: Arithmetic, activation: str) -> None:
    rng, rule = np.random.default_rng(3), replace(rule, activation=activation)
    for spread in (0, 2, 9):
        words = finite_words(rng, 60, activation, spread)
        assert_kept(words, np.zeros(60, np.intp), 0, ONES, rule)


def largest_loss(
    name: str, large: int, small: int, n: int = 128
) -> tuple[Words, NDArray[np.intp], TermTable]:
    """A product of 1024 units of 8, then products just below a unit in a lane of each block."""
    words, codes = np.zeros(n, np.uint16), np.full(n, small)
    words[0], codes[0] = 20 << 10, large
    words[4::4] = 6 << 10 | 1023
    return words, codes, term_table(name)


TIGHT = [("int2", 1, 1), ("fp3", 1, 1), ("int4", 1, 5), ("int6", 1, 21), ("int8", 1, 85)]


@pytest.mark.parametrize(("name", "large", "small"), TIGHT)
def test_an_adversarial_group_comes_near_the_bounds(name: str, large: int, small: int) -> None:
    words, codes, table = largest_loss(name, large, small)
    error, bound, size = errors(words, codes, 0, table, Arithmetic())
    worst = worst_case(Arithmetic(), table, 128)
    assert error > 0
    assert bound <= Fraction(11, 10) * error
    assert worst * float(size) <= 1.5 * float(error)


def test_a_negative_drift_of_a_narrow_accumulator_keeps_the_bounds() -> None:
    rule, table = Arithmetic(accumulator_bits=8), term_table("int2")
    words = np.where(np.arange(4096) % 4, 0, 0x8000 | 10 << 10 | 1).astype(np.uint16)
    assert_kept(words, np.ones(4096, np.intp), 0, table, rule)


def test_a_cancelled_group_keeps_the_bounds() -> None:
    half = finite_words(np.random.default_rng(1), 64, "fp16", 3)
    words = np.concatenate([half, half ^ 0x8000]).astype(np.uint16)
    assert_kept(words, np.full(128, 7), 0, term_table("int4"), PUBLISHED)


def test_integer_activations_that_fit_are_exact() -> None:
    rule, table = Arithmetic(activation="int8"), term_table("int4")
    assert worst_case(rule, table, 128) == 0
    words = np.full(128, 0x80, np.uint16)
    error, bound, _ = errors(words, np.full(128, 8), 0, table, rule)
    assert error == bound == 0
    assert worst_case(rule, term_table("int8"), 128) > 0


def test_subnormals_alone_lose_nothing() -> None:
    words = finite_words(np.random.default_rng(2), 128, "fp16", 0) & 0x83FF
    table = term_table("int4")
    error, bound, _ = errors(words.astype(np.uint16), np.full(128, 5), 0, table, Arithmetic())
    assert error == bound == 0
