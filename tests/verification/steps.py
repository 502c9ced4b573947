"""The terms of every format: right by enumeration, and no table of fewer steps exists.

The search shares nothing with ``hwsim/pe/decompose.py``: for every vector of significances it makes
the set of all sums that the steps can reach, as the sumset of the digits of each step, and looks
whether the levels lie in it. Sums of four steps are looked for as ``level - (two steps)`` among
those of the other two.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from hwsim.pe import pe_formats, term_table
from hwsim.pe.arithmetic import MAX_SIGNIFICANCE, MAX_STEPS
from hwsim.pe.terms import MAX_SELECTORS, TermTable
from quant.formats.elements import IntType
from quant.formats.registry import BUILT_IN, FORMATS, get_format
from tests.verification.finding import Finding

I64 = NDArray[np.int64]
PART = "terms"
WIDTHS = (2, 3, 4, 5)
"""Widths of a term's own exponent."""


def levels(name: str) -> tuple[list[tuple[int, int, int]], int]:
    """Return ``(selector, code, integer)`` of each level and the exponent of the unit.

    Integers are levels less the recentring of asymmetric formats; the unit is the largest power
    of two that divides all.
    """
    entry = get_format(name)
    middle = 0
    if isinstance(entry.element, IntType) and not entry.element.symmetric:
        middle = 2 ** (entry.element_bits - 1)
    found = [
        (s, c, Fraction(float(level)) - middle)
        for (s, c), level in np.ndenumerate(entry.tables)
        if np.isfinite(level)
    ]
    low = min(_lowest(value) for _, _, value in found if value)
    return [(s, c, int(value / Fraction(2) ** low)) for s, c, value in found], low


def _lowest(value: Fraction) -> int:
    """The exponent of the lowest one-bit."""
    n = abs(value.numerator)
    return (n & -n).bit_length() - 1 - (value.denominator.bit_length() - 1)


def wrong_terms(name: str, table: TermTable) -> int:
    """Count codes whose terms do not add up to their level, or are out of the fields' ranges."""
    wanted, unit = levels(name)
    exact = {(s, c): Fraction(value) * Fraction(2) ** unit for s, c, value in wanted}
    wrong = 0
    for s, c in np.ndindex(*table.sign.shape[:2]):
        total = Fraction(0)
        for step, shift in enumerate(table.significance):
            if table.man[s, c, step]:
                power = int(table.exp[s, c, step]) + shift + table.unit_exponent
                total += (-1) ** int(table.sign[s, c, step]) * Fraction(2) ** power
        there = (s, c) in exact
        wrong += int(total != exact.get((s, c), 0) or bool(table.has_value[s, c]) != there)
    shape = bool((table.exp < 2**table.exponent_bits).all() and (table.man <= 1).all())
    rising = list(table.significance) == sorted(table.significance)
    small = table.significance[-1] <= MAX_SIGNIFICANCE
    return wrong + int(not (shape and rising and small))


def digits(shift: int, width: int) -> I64:
    """What one step adds: 0 or a signed power of two."""
    powers = 1 << np.arange(shift, shift + 2**width, dtype=np.int64)
    return np.concatenate([-powers, [0], powers])


@lru_cache(maxsize=512)
def sums(shifts: tuple[int, ...], width: int) -> I64:
    """All sums of some steps, rising: at most two steps, so that no set is large."""
    reached = np.zeros(1, np.int64)
    for shift in shifts:
        reached = np.unique((reached[:, None] + digits(shift, width)[None]).ravel())
    return reached


def reachable(values: I64, shifts: tuple[int, ...], width: int) -> bool:
    """Whether every value is a sum of a digit of each step."""
    left, right = sums(shifts[:2], width), sums(shifts[2:], width)
    for value in values:
        at = np.searchsorted(right, value - left)
        if not (right[np.minimum(at, right.size - 1)] == value - left).any():
            return False
    return True


def fits(values: I64, steps: int, width: int) -> bool:
    """Whether some significances of that many steps serve all values."""
    hardest = values[np.argsort([-naf_digits(int(v)) for v in values], kind="stable")]
    every = combinations_with_replacement(range(MAX_SIGNIFICANCE + 1), steps)
    return any(reachable(hardest, shifts, width) for shifts in every)


def naf_digits(value: int) -> int:
    """Digits of the non-adjacent form that are not 0, by the definition: the fewest of all."""
    n, count = abs(value), 0
    while n:
        if n % 2:
            n -= 2 - n % 4
            count += 1
        n //= 2
    return count


def is_integer(name: str) -> bool:
    """Whether a format's levels are all integers of a width: Booth digits."""
    return name.startswith("int") or name == "mxint8"


def minimal(name: str, width: int) -> bool | None:
    """Whether the table of a width has the fewest steps, or there is rightly none.

    None where there is rightly none.
    """
    values = np.unique(np.abs([value for _, _, value in levels(name)[0]]))
    if name not in pe_formats(width):
        return None if not any(fits(values, n, width) for n in range(1, MAX_STEPS + 1)) else False
    steps = term_table(name, width).steps
    if is_integer(name):
        signed = [value for _, _, value in levels(name)[0]]
        if steps != max(1, *map(naf_digits, signed)):
            return False
    return not any(fits(values, n, width) for n in range(1, steps))


def candidates() -> Iterable[str]:
    """Every built-in format that the PE could take: a grid's levels, tables that selectors name."""
    for name in BUILT_IN:
        entry = FORMATS[name]
        if not entry.is_plain and entry.layout.is_grid and entry.candidates <= MAX_SELECTORS:
            yield name


def run() -> list[Finding]:
    """Return the findings; seconds."""
    tables = {(n, w): term_table(n, w) for w in WIDTHS for n in pe_formats(w)}
    codes = sum(table.sign.shape[0] * table.sign.shape[1] for table in tables.values())
    wrong = sum(wrong_terms(name, table) for (name, _), table in tables.items())
    right = Finding(PART, "terms add up to every level, by enumeration", codes, "codes", wrong)
    verdicts = [minimal(name, width) for name in candidates() for width in WIDTHS]
    none = sum(verdict is None for verdict in verdicts)
    fewest = Finding(
        PART,
        "no table of fewer steps exists, by exhaustive sumsets",
        len(verdicts),
        "formats x widths",
        sum(verdict is False for verdict in verdicts),
        f"significances 0..{MAX_SIGNIFICANCE}, exponents of 2..5 bits; for {none} no table exists",
    )
    return [right, fewest]
