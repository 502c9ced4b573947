"""Random group dot products for the PE, and their comparison bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hwsim.pe import PUBLISHED, Arithmetic, matmul, pe_formats, term_table
from quant.formats.registry import get_format
from quant.tensors.tensor import QuantizedTensor
from tests.verification import oracle
from tests.verification.tensors import (
    LAYOUT,
    WORD_BITS,
    Words,
    is_finite,
    same_bits,
    tensor,
    values,
)

RULES = (
    Arithmetic(),
    PUBLISHED,
    Arithmetic(guard_bits=0),
    Arithmetic(lanes=2),
    Arithmetic(lanes=8),
    Arithmetic(lanes=3, guard_bits=5, accumulator_bits=9),
)
"""Default, published, no guard bits, lanes 2 and 8, and one with nothing of a power of two."""
SIZES = (5, 16, 19, 32, 64, 128)
"""Lengths of random groups."""


@dataclass(frozen=True)
class Case:
    """A weight, words of activations ``[tokens, in]``, the arithmetic and the output's format."""

    weight: QuantizedTensor
    words: Words
    rule: Arithmetic
    half: bool = False

    @property
    def count(self) -> int:
        """Group dot products."""
        return len(self.words) * self.weight.scales.size


@dataclass(frozen=True)
class Tally:
    """Group dot products compared, and outputs that differed (a wrong cycle count: one more)."""

    count: int = 0
    failures: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.count + other.count, self.failures + other.failures)


def random_words(rng: np.random.Generator, shape: tuple[int, int], activation: str) -> Words:
    """Return finite words: exponents around a random center, one word of ten a zero, some alike."""
    words: Words = rng.integers(0, 1 << WORD_BITS[activation], shape).astype(np.uint16)
    if activation in LAYOUT:
        exponent, fraction = LAYOUT[activation]
        top, spread = 2**exponent - 1, int(rng.choice([0, 1, 3, 6, 12, 30]))
        field = int(rng.integers(0, top)) + rng.integers(-spread, spread + 1, shape)
        keep = words & ((1 << (exponent + fraction)) | ((1 << fraction) - 1))
        words = (keep | np.clip(field, 0, top) << fraction).astype(np.uint16)
    sign = words & (1 << (WORD_BITS[activation] - 1)) if activation in LAYOUT else 0 * words
    zero = (rng.random(shape) < 0.1) | ~is_finite(words, activation)
    return np.asarray(np.where(zero, sign, words), np.uint16)


def random_case(
    rng: np.random.Generator, name: str, rule: Arithmetic, shape: tuple[int, int, int], groups: int
) -> Case:
    """Return random codes and words, ``shape = (tokens, out, group size)``.

    One group a row: scale 1, so that every bit of the accumulator is seen. More: all kinds of
    scales, zero points, a shorter last group, and FP16 output half of the time.
    """
    tokens, rows, size = shape
    entry, table = get_format(name), term_table(name, rule.exponent_bits)
    columns = size * groups - int(rng.integers(0, size)) * (groups > 1)
    grid = (rows, groups)
    selectors = rng.integers(0, entry.candidates, grid).astype(np.uint8)
    if entry.selects_per_tensor:
        selectors[:] = selectors[0, 0]
    codes = rng.integers(0, 2**entry.element_bits, (rows, columns)).astype(np.uint8)
    allowed = table.has_value[np.repeat(selectors, size, axis=1)[:, :columns], codes]
    codes = np.where(allowed, codes, 0).astype(np.uint8)
    words = random_words(rng, (tokens, columns), rule.activation)
    zeros = None
    if entry.zero_point_bits:
        zeros = rng.integers(0, 2**entry.element_bits, grid).astype(np.uint8)
    if groups == 1:
        weight = tensor(name, codes, size, selectors=selectors, zero_points=zeros)
        return Case(weight, words, rule)
    scale = str(rng.choice(["int8", "e8m0", "e4m3"]))
    low, high = {"int8": (1, 256), "e8m0": (90, 160), "e4m3": (0, 127)}[scale]
    weight = tensor(
        name,
        codes,
        size,
        scale=scale,
        scales=rng.integers(low, high, grid).astype(np.uint8),
        selectors=selectors,
        zero_points=zeros,
        row_scales=np.ldexp(rng.random(rows), rng.integers(-14, 9, rows)).astype(np.float16),
        tensor_scale=float(rng.random()),
    )
    return Case(weight, words, rule, bool(rng.integers(0, 2)))


def compare(case: Case, *, reference: bool = False) -> Tally:
    """Run the kernels, the oracle and, if asked for, the reference; outputs bit for bit."""
    wanted, busy = oracle.output(
        case.weight, case.words, case.rule, oracle.FP16 if case.half else oracle.FP32
    )
    x = values(case.words, case.rule.activation).astype(np.float32)
    kind = "fp16" if case.half else "fp32"
    failures = 0
    for backend in ("numba", "reference")[: 1 + reference]:
        options: Any = {"arithmetic": case.rule, "output": kind, "backend": backend}
        y, cycles = matmul(case.weight, x, skip_zero_steps=True, **options)
        wrong = ~same_bits(np.asarray(y), wanted)
        failures += int(np.count_nonzero(wrong)) + (cycles != busy)
    return Tally(case.count, failures)


def combinations() -> list[tuple[str, Arithmetic]]:
    """Return every format with every activation format and every arithmetic."""
    return [
        (name, replace(rule, activation=activation, exponent_bits=term_table(name).exponent_bits))
        for rule in RULES
        for activation in WORD_BITS
        for name in pe_formats()
    ]


def random_cases(count: int, seed: int) -> Iterator[Case]:
    """Yield cases of ``count`` group dot products or a little more, over all combinations.

    Tiles are 64 x 64, or down to 24 x 24 where the count would not reach all combinations.
    """
    rng, every = np.random.default_rng(seed), combinations()
    rng.shuffle(every)
    side = int(np.clip(np.sqrt(count / len(every)), 24, 64))
    done = number = 0
    while done < count:
        name, rule = every[number % len(every)]
        groups = 1 if number % 5 else 4
        shape = (side + 1, side + number % 7, int(rng.choice(SIZES)))
        case = random_case(rng, name, rule, shape, groups)
        yield case
        number, done = number + 1, done + case.count
