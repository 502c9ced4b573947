"""Random operands of a PE's lanes."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.reference import Activation

Term = tuple[int, int, int]
"""Sign, man and exponent."""


def chosen(rng: random.Random, corners: Sequence[int], low: int, high: int) -> int:
    """Return a corner or any number of a range."""
    return rng.choice(corners) if rng.random() < 0.3 else rng.randint(low, high)


def operands(rng: random.Random, rule: Arithmetic) -> tuple[list[Activation], list[Term]]:
    """Return random lanes: close and far exponents, small and full mantissas, zeros."""
    form, far = rule.activations, 2**rule.exponent_bits - 1
    top, bits = form.largest_exponent, form.mantissa_bits
    base, spread = rng.randint(1, top), rng.choice([0, 2, 8, top])
    acts, terms = [], []
    for _ in range(rule.lanes):
        exponent = min(max(base + rng.randint(-spread, spread), 1), top)
        mantissa = chosen(rng, [0, 1, 2**bits - 1, 2 ** (bits - 1)], 0, 2**bits - 1)
        acts.append(Activation(rng.getrandbits(1), exponent, mantissa))
        terms.append((rng.getrandbits(1), int(rng.random() < 0.7), rng.randint(0, far)))
    return acts, terms


def nonzero(acts: Iterable[Activation], terms: Iterable[Term]) -> list[int]:
    """Return which lanes have a product."""
    return [int(a.mantissa > 0 and man) for a, (_, man, _) in zip(acts, terms, strict=True)]


def packed(values: Iterable[int], bits: int) -> int:
    """One number of many, the first lowest, negative ones in two's complement."""
    total = 0
    for index, part in enumerate(values):
        total |= (part & (1 << bits) - 1) << bits * index
    return total
