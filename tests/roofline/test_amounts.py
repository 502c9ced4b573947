"""Closed forms equal enumeration, for one step and for arrays of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roofline.workloads.amounts import (
    ONE,
    SEQUENCES,
    TOKENS,
    Basis,
    Step,
    amount,
    blocked_keys,
    distinct_experts,
    keys_read,
    visible,
)

SIZES = st.integers(1, 60)
LIMITS = st.sampled_from([(None, None), (1, None), (7, None), (None, 5), (None, 16)])


def seen(query: int, window: int | None, chunk: int | None) -> list[int]:
    first = 0
    if window:
        first = max(0, query - window + 1)
    if chunk:
        first = query - query % chunk
    return list(range(first, query + 1))


@given(SIZES, st.integers(0, 80), LIMITS)
def test_masks_are_counted(queries: int, past: int, limits: tuple[int | None, int | None]) -> None:
    keys = [seen(query, *limits) for query in range(past, past + queries)]
    step = Step(3, queries, past)
    assert amount(visible(*limits)).at(step) == sum(len(row) for row in keys)
    union = {key for row in keys for key in row}
    got = amount(keys_read(*limits)).at(step)
    assert got == len(union)


@given(SIZES, st.integers(0, 80), st.integers(1, 40))
def test_blocks_of_queries_read_keys_again(queries: int, past: int, rows: int) -> None:
    expected = 0
    for first in range(0, queries, rows):
        expected += past + min(first + rows, queries)
    step = Step(1, queries, past, onchip=4 * 2 * rows)
    assert amount(blocked_keys(2)).at(step) == expected
    kept = Step(1, queries, past)
    assert amount(blocked_keys(2)).at(kept) == past + queries


def test_an_encoder_reads_all_keys_for_each_block() -> None:
    step = Step(1, 100, 0, onchip=4 * 2 * 30)
    assert amount(blocked_keys(2, causal=False)).at(step) == 4 * 100
    assert amount(visible(causal=False)).at(step) == 100 * 100


def test_distinct_experts_are_an_expectation() -> None:
    rng = np.random.default_rng(0)
    draws = [
        len({e for _ in range(12) for e in rng.choice(32, 4, replace=False)}) for _ in range(4000)
    ]
    assert amount(distinct_experts(32, 4)).at(Step(3, 4, 9)) == pytest.approx(
        np.mean(draws), rel=0.01
    )


@given(st.lists(st.tuples(SIZES, SIZES, st.integers(0, 90)), min_size=1, max_size=5))
def test_arrays_equal_single_steps(steps: list[tuple[int, int, int]]) -> None:
    rows = [TOKENS * 3 + ONE, SEQUENCES - ONE * 2, amount(visible(7)), amount(visible(None, 5))]
    rows += [amount(blocked_keys(2)), amount(distinct_experts(8, 2))]
    basis = Basis(rows)
    columns = [np.array(c, dtype=np.float64) for c in zip(*steps, strict=True)]
    columns.append(np.full(len(steps), 400.0))
    table = basis.over(tuple(columns)) @ basis.coefficients.T
    for got, step in zip(table, steps, strict=True):
        each = Step(*step, onchip=400.0)
        assert got == pytest.approx([row.at(each) for row in rows])
        assert got == pytest.approx(basis.coefficients @ basis.at(each))
