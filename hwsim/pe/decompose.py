"""Integers as the fewest signed powers of two that steps with a shared significance can hold."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import combinations_with_replacement
from typing import NamedTuple

from hwsim.pe.arithmetic import MAX_SIGNIFICANCE, MAX_STEPS


class Term(NamedTuple):
    """``(-1)^sign * 2^place``."""

    sign: int
    place: int


Terms = tuple[Term | None, ...]
"""One term a step, None where a step has nothing to add."""


def fewest_terms(value: int) -> int:
    """Return how many signed powers of two a magnitude takes at least.

    The non-adjacent form has the fewest (Reitwiesner 1960); its digits differ from 0 where
    ``value`` and ``3*value`` differ.
    """
    return (value ^ (3 * value)).bit_count()


def plan(values: Sequence[int], width: int) -> tuple[tuple[int, ...], dict[int, Terms]] | None:
    """Return the fewest steps that serve every value, and the terms of each.

    All numbers of steps from the fewest upward and all rising significances that start at 0 are
    tried in order, so that fewer steps do not exist.

    Args:
        values: Magnitudes; among them an odd one.
        width: Bits of a term's own exponent: a step of significance s holds the places
            ``s .. s + 2^width - 1``.

    Returns:
        The significance of each step and the terms of each value, least step first; None where
        ``MAX_STEPS`` steps with significances up to ``MAX_SIGNIFICANCE`` do not do.
    """
    if max(values) > MAX_STEPS << (MAX_SIGNIFICANCE + 2**width - 1):
        return None  # beyond all places together
    least = max(1, *map(fewest_terms, values))
    hardest = sorted(values, key=fewest_terms, reverse=True)
    for steps in range(least, MAX_STEPS + 1):
        for significance in _significances(steps):
            terms: dict[int, Terms] = {}
            for value in hardest:
                found = decompose(value, significance, width)
                if found is None:
                    break
                terms[value] = found
            else:
                return significance, terms
    return None


@lru_cache(maxsize=1 << 18)
def decompose(value: int, significance: tuple[int, ...], width: int) -> Terms | None:
    """Return the terms of an integer: the fewest, then no minus signs, then the earliest steps.

    None where there are none.
    """
    if not significance:
        return () if value == 0 else None
    found = []
    if (rest := decompose(value, significance[1:], width)) is not None:
        found.append((None, *rest))
    least, most = significance[0], significance[0] + 2**width - 1
    for place in range(least, min(most, abs(value).bit_length() + 1) + 1):
        for sign in (0, 1):
            left = value - (-1) ** sign * 2**place
            if fewest_terms(abs(left)) < len(significance) and (
                (rest := decompose(left, significance[1:], width)) is not None
            ):
                found.append((Term(sign, place), *rest))
    return min(found, key=_rank, default=None)


def _rank(terms: Terms) -> tuple[int, int, tuple[bool, ...]]:
    used = [term for term in terms if term is not None]
    return len(used), sum(term.sign for term in used), tuple(term is None for term in terms)


def _significances(steps: int) -> list[tuple[int, ...]]:
    """Rising significances from 0; strictly rising ones first, as the published machine's."""
    every = combinations_with_replacement(range(MAX_SIGNIFICANCE + 1), steps - 1)
    return sorted(((0, *rest) for rest in every), key=lambda s: len(set(s)) < steps)
