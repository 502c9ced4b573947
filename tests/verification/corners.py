"""Structured corners of the dot product: kernels, oracle and reference bit for bit.

Shifts from 0 to beyond all widths, cancellations, the longest group, the ends of the exponent,
accumulators of ``-2^bits``, signed zeros, one large product among small ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hwsim.pe import PUBLISHED, Arithmetic, term_table
from hwsim.pe.arithmetic import MAX_GROUP
from quant.common.progress import track
from quant.formats.registry import get_format
from tests.verification import oracle
from tests.verification.cases import Case, Tally, compare
from tests.verification.finding import Finding
from tests.verification.tensors import LAYOUT, WORD_BITS, Words, is_finite, one_thread, tensor

FORMATS = ("int8", "int4", "int8-asym", "int4-asym", "bitmod3", "bitmod4", "fp3", "fp6-e3m2",
           "fp8-e4m3", "fp8-e5m2", "pot5")  # fmt: skip
RULES = (Arithmetic(), PUBLISHED, Arithmetic(guard_bits=0), Arithmetic(lanes=8))
N = 64
"""Weights of a group."""


def corner_words(activation: str) -> dict[str, Words]:
    """Return named rows of activations ``[rows, N]``."""
    if activation == "int8":
        return _integer_words()
    exponent, fraction = LAYOUT[activation]
    minus, unit = 1 << (exponent + fraction), 1 << fraction
    top = (1 << exponent) - (1 if activation == "fp8-e4m3" else 2)
    largest = (top << fraction) + unit - (2 if activation == "fp8-e4m3" else 1)
    column = np.arange(N)
    fields = np.arange(top + 1)[:, None]
    alternate = np.where(column % 2, minus, 0)
    rows = {
        "zeros of both signs": alternate,
        "largest": np.full(N, largest),
        "largest cancels": alternate | largest,
        "cancels, then small": np.where(column < N // 2, alternate | largest, 1),
        "cancels, then negative": np.where(column < N // 2, alternate | largest, minus | 3),
        "smallest subnormals": np.full(N, 1),
        "negative subnormals": np.full(N, minus | 1),
        "largest subnormals": alternate | (unit - 1),
        "every exponent": column % (top + 1) << fraction | 1,
        "every exponent, falling": top - column % (top + 1) << fraction | 1,
        "one large among small": np.where(column == 37, largest, minus | 1),
        "one small among large": np.where(column == 37, 1, largest),
        "lanes: every shift": np.where(column % 4 == 1, fields << fraction | unit - 1, largest),
        "lanes: every negative shift": np.where(
            column % 4 == 1, minus | fields << fraction | unit - 1, largest
        ),
        "blocks: every shift": np.where(column < 4, largest, fields << fraction | unit - 1),
        "blocks: every negative shift": np.where(
            column < 4, largest, minus | fields << fraction | unit - 1
        ),
        "blocks: every rising shift": np.where(
            column < 4, minus | fields << fraction | unit - 1, largest
        ),
    }
    made = {name: np.atleast_2d(words).astype(np.uint16) for name, words in rows.items()}
    return {n: np.where(is_finite(w, activation), w, w - 1) for n, w in made.items()}


def _integer_words() -> dict[str, Words]:
    column = np.arange(N)
    rows = {
        "zeros": np.zeros(N, np.int64),
        "-128": np.full(N, 0x80),
        "largest": np.full(N, 0x7F),
        "cancels": np.where(column % 2, 0x81, 0x7F),
        "one among ones": np.where(column == 37, 0x80, 1),
    }
    return {name: words[None].astype(np.uint16) for name, words in rows.items()}


def corner_cases() -> Iterator[Case]:
    """Yield all corners with weights that are all one code, for every code of some formats."""
    for activation in WORD_BITS:
        words = np.concatenate(list(corner_words(activation).values()))
        words = words if len(words) < 300 else words[:: len(words) // 150]
        for name in FORMATS:
            table = term_table(name)
            level = np.flatnonzero(table.has_value[0])
            chosen = level[:: max(1, level.size // 8)]
            codes = np.repeat(chosen[:, None], N, axis=1).astype(np.uint8)
            zeros = None
            if get_format(name).zero_point_bits:
                zeros = (np.arange(len(codes))[:, None] % 2).astype(np.uint8)
            weight = tensor(name, codes, N, zero_points=zeros)
            for rule in RULES:
                rule_ = replace(rule, activation=activation, exponent_bits=table.exponent_bits)
                yield Case(weight, words, rule_)


def longest_groups() -> Iterator[Case]:
    """Yield groups of 65,536 weights: all largest of one sign, random, a slow negative drift."""
    rng, column = np.random.default_rng(65536), np.arange(MAX_GROUP)
    for name, code in (("int8", 0x80), ("int4", 7), ("bitmod3", 3)):
        codes = np.full((2, MAX_GROUP), code, np.uint8)
        codes[1] = rng.integers(0, 2 ** get_format(name).element_bits, MAX_GROUP)
        drift = np.where(column % 4 == 0, np.where(column == 0, 0x7800, 0x8001), 0)
        rows = [np.full(MAX_GROUP, 0x7BFF), rng.integers(0, 0x7C00, MAX_GROUP), drift]
        words = np.stack(rows).astype(np.uint16)
        for rule in (Arithmetic(), PUBLISHED):
            yield Case(tensor(name, codes, MAX_GROUP), words, rule)


def lowest_accumulators() -> tuple[list[Case], int]:
    """Return cases whose accumulator is ``-2^bits`` at the end of the group, and how many are.

    ``W = -(2^(bits + 1) - 1)`` is what leads there: one step of weights -1, whose lanes add up to
    it in units of the largest exponent. A step of zeros follows in one case, another step in the
    next: both must start from ``-2^bits``. With four lanes and 22 bits no such step exists.
    """
    cases, reached = [], 0
    weight = tensor("int2", np.full((1, 12), 3, np.uint8), 12)
    for rule, first in (
        (Arithmetic(guard_bits=0, accumulator_bits=8), [511]),
        (Arithmetic(guard_bits=0, accumulator_bits=9), [1023]),
        (PUBLISHED, [4 << 10 | 1023, 4 << 10 | 1023, 15]),
    ):
        for second in (0, 1, 5 << 10, 0x8000 | 9 << 10):
            words = np.zeros((1, 12), np.uint16)
            words[0, : len(first)] = first
            words[0, 8] = second
            cases.append(Case(weight, words, rule))
        start = oracle.split(words[:, :8], "fp16")
        table, none = term_table("int2"), np.zeros(1, np.uint8)
        sums = oracle.group_sums(np.full((1, 8), 3, np.uint8), none, start, table, rule)
        reached += int(sums.mantissa[0, 0] == -(2**rule.accumulator_bits))
    return cases, reached


def run(scale: str) -> list[Finding]:
    """Return the findings; ``quick`` leaves out the reference and the longest groups."""
    full, unit, part = scale == "full", "group dot products", "dot products"
    with one_thread():
        tally = all_corners(full)
        note = "shifts beyond all widths, cancellation, ends of the exponent, signed zeros"
        what = "structured corners, bit for bit"
        found = [Finding(part, what, tally.count, unit, tally.failures, note)]
        lowest, reached = lowest_accumulators()
        tally = sum((compare(case, reference=True) for case in lowest), Tally())
        what = "accumulators of -2^bits, then zeros or a step"
        found.append(Finding(part, what, tally.count, unit, tally.failures + 3 - reached))
        if full:
            cases = track(list(longest_groups()), "longest groups")
            tally = sum((compare(case, reference=True) for case in cases), Tally())
            what = f"groups of {MAX_GROUP} weights"
            found.append(Finding(part, what, tally.count, unit, tally.failures))
    return found


def all_corners(full: bool) -> Tally:
    """Compare all corners with the oracle and a part of them with the reference, or a twelfth."""
    tally = Tally()
    for number, case in enumerate(track(list(corner_cases()), "corners")):
        if full:
            tally += compare(case)
            thin = replace(case, words=case.words[:: max(1, len(case.words) // 12)])
            tally += compare(thin, reference=True)
        elif number % 4 == number // 4 % 4:
            tally += compare(replace(case, words=case.words[::3]))
    return tally
