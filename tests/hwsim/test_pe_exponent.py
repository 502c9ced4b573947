"""Exponents of accumulators fit their registers; groups that could make them wider are refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import quant
from hwsim.pe import ACTIVATIONS, Arithmetic, matmul, reference, term_table
from hwsim.pe.operands import weights
from hwsim.tile.packets import jobs
from hwsim.tile.tile import Tile
from quant.common.errors import HwsimError, RequestError

NARROW = [
    Arithmetic(lanes=lanes, guard_bits=guard, accumulator_bits=bits, activation=activation)
    for lanes, guard in ((1, 0), (1, 3), (4, 3), (16, 0))
    for bits in (8, 9)
    for activation in ACTIVATIONS
]


def largest(rule: Arithmetic) -> int:
    """The largest exponent that its register holds."""
    return (1 << rule.accumulator_exponent_bits) - 1


@pytest.mark.parametrize("rule", NARROW, ids=str)
def test_the_worst_case_fits_to_the_last_step_and_no_further(rule: Arithmetic) -> None:
    partial, steps = reference.Partial(), 0
    while partial.exponent <= largest(rule) and steps <= rule.max_steps:
        step = -rule.largest_sum, rule.largest_exponent
        partial, steps = reference.accumulate(partial, *step, rule), steps + 1
    assert steps == rule.max_steps + 1
    assert partial.exponent > largest(rule)


@given(
    st.sampled_from([rule for rule in NARROW if rule.max_steps < 3000]),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["any", "down", "up and down", "large, then small"]),
)
@settings(max_examples=40, deadline=None)
def test_nothing_that_is_added_gets_further(rule: Arithmetic, seed: int, kind: str) -> None:
    rng, partial, top = np.random.default_rng(seed), reference.Partial(), rule.largest_exponent
    for i in range(rule.max_steps):
        total = int(rng.integers(-rule.largest_sum, rule.largest_sum + 1))
        exponent = int(rng.integers(max(0, top - 20), top + 1))
        if kind == "down":
            total = -rule.largest_sum >> int(rng.integers(2))
        if kind == "up and down":
            total, exponent = rule.largest_sum * (1 - 2 * (i // 40 % 2)), top
        if kind == "large, then small":
            total, exponent = (-rule.largest_sum, top) if i < rule.max_steps // 2 else (-1, 0)
        partial = reference.accumulate(partial, total, exponent, rule)
        assert partial.exponent <= largest(rule)


@pytest.mark.parametrize(("bits", "lanes", "weight"), [(8, 1, "int8"), (10, 8, "int4")])
def test_what_fits_is_equal_and_what_does_not_is_refused_everywhere(
    bits: int, lanes: int, weight: str
) -> None:
    rule = Arithmetic(lanes=lanes, accumulator_bits=bits)
    steps = term_table(weight, rule.exponent_bits).steps
    longest = rule.max_steps // steps * lanes
    values = np.full((1, longest), -1.0, np.float32)
    x = np.full((2, longest), 60000.0, np.float16)
    x[1] = 1.0
    qt = quant.quantize(values, weight, group_size=longest, scale="int8")
    got, _ = matmul(qt, x, arithmetic=rule)
    for row, words in enumerate(rule.activations.words(x)):
        assert got[row, 0] == _reference(qt, words, rule)
    longer = quant.quantize(
        np.pad(values, ((0, 0), (0, lanes))), weight, group_size=longest + lanes, scale="int8"
    )
    said = f"take .* steps: an accumulator of {bits} bits .* holds {rule.max_steps}"
    wide = np.pad(x, ((0, 0), (0, lanes)))
    with pytest.raises(RequestError, match=said):
        matmul(longer, wide, arithmetic=rule)
    with pytest.raises(RequestError, match=said):
        _reference(longer, rule.activations.words(wide)[0], rule)
    with pytest.raises(RequestError, match=said):
        Tile(max_group=longest + 4 * lanes, arithmetic=rule)
    operand, _ = weights(longer, None)
    with pytest.raises(HwsimError):
        list(
            jobs(
                operand, rule.activations.words(wide), Tile(max_group=longest // 4, arithmetic=rule)
            )
        )


def _reference(qt: quant.QuantizedTensor, words: np.ndarray, rule: Arithmetic) -> float:
    operand, _ = weights(qt, None)
    inputs = [reference.decode(int(word), rule.activations) for word in words]
    codes = [int(code) for code in operand.codes[0]]
    group = reference.Group(
        codes, 0, int(operand.scales[0, 0]), int(operand.scale_exponents[0, 0]), 0
    )
    table = term_table(qt.spec.format.name, rule.exponent_bits)
    return reference.dot(inputs, [group], float(operand.factors[0]), table, rule)[0]
