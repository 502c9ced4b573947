"""How each weight code becomes bit-serial terms: the one table of PE, kernels and RTL decoder.

A level is a sum of terms ``(-1)^sign * man * 2^exp * 2^significance`` (times the format's unit),
one term a PE cycle, least significant first. The significance belongs to the step, not to the
code, because the lanes of a PE share it (BitMoD, arXiv 2411.11745; docs/pe_arithmetic.md).

Integers (MXINT8's too) use radix-4 Booth digits: digit i covers two bits, ``significance = 2*i``,
values 0, ±1, ±2. Asymmetric integers are recentred first: ``q - 2^(b-1)`` is a signed code of the
same width.
Every other format gets the fewest steps that serve all its levels (``hwsim.pe.decompose``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.arithmetic import LIMITS, MAX_STEPS
from hwsim.pe.decompose import Terms, fewest_terms, plan
from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.elements import IntType
from quant.formats.format import Format
from quant.formats.registry import BUILT_IN, FORMATS, get_format
from quant.formats.spec import FormatSpec
from quant.rounding.packing import U8

MAX_SELECTORS = 4
"""Tables that a group chooses from; a selector takes two bits."""
NARROWEST, WIDEST = LIMITS["exponent_bits"]
"""Widths of a term's own exponent."""
FINEST = 20
"""No unit is below ``2^-FINEST``."""


@dataclass(frozen=True, eq=False)
class TermTable:
    """The terms of every code of a format.

    Attributes:
        format: The format's name.
        sign: 1 where the term is negative, ``[selectors, codes, steps]`` uint8.
        man: 1 where there is a term, same shape.
        exp: The term's own exponent, ``0..2^exponent_bits - 1``, same shape.
        significance: The exponent shared by all lanes at each step, rising.
        unit_exponent: ``log2`` of the value of the integer 1.
        offset: What asymmetric integers subtract from code and zero point (``2^(b-1)``), else 0.
        exponent_bits: Width that ``exp`` needs, at least 2.
        has_value: False for codes of NaN, Inf or no level, ``[selectors, codes]``: no terms.
    """

    format: str
    sign: U8
    man: U8
    exp: U8
    significance: tuple[int, ...]
    unit_exponent: int
    offset: int
    exponent_bits: int
    has_value: NDArray[np.bool_]

    @property
    def steps(self) -> int:
        """PE cycles that a block of ``lanes`` weights takes."""
        return len(self.significance)

    def value(self, selector: int, code: int) -> int:
        """Return the integer that a code's terms add up to, in units of ``2^unit_exponent``."""
        at = (selector, code)
        terms = zip(self.sign[at], self.man[at], self.exp[at], self.significance, strict=True)
        return sum((-1) ** int(s) * int(m) << (int(e) + shift) for s, m, e, shift in terms)


def pe_formats(exponent_bits: int | None = None) -> list[str]:
    """Return the built-in formats that a PE with term exponents of that width (None: any) takes.

    A format that a user registered may have terms, too (``term_table``).
    """
    if exponent_bits is not None:
        exponent_bits = arguments.integer("exponent_bits", exponent_bits, NARROWEST, WIDEST)
    return [name for name in BUILT_IN if _table(FORMATS[name], exponent_bits)]


def term_table(format_: str | Format, exponent_bits: int | None = None) -> TermTable:
    """Return the terms of a format.

    Args:
        format_: A format, or the name of one in the registry.
        exponent_bits: Width of the machine's term exponents; None: the widest. Of the tables
            that fit, it is the one of the fewest steps, then of the narrowest exponents.

    Raises:
        RequestError: unknown format, one whose levels are no short sums of signed powers of two,
            or one that needs wider exponents.
    """
    entry = format_ if isinstance(format_, Format) else get_format(format_)
    name = entry.name
    if exponent_bits is not None:
        exponent_bits = arguments.integer("exponent_bits", exponent_bits, NARROWEST, WIDEST)
    table = _table(entry, exponent_bits)
    if table is not None:
        return table
    if exponent_bits is not None and (wider := _table(entry, None)):
        raise RequestError(
            f"format {name!r} needs terms with exponents of {wider.exponent_bits} bits, not "
            f"{exponent_bits}"
        )
    allowed = ", ".join(pe_formats(exponent_bits))
    raise RequestError(f"format {name!r} cannot run on a bit-serial PE; it takes: {allowed}")


def term_count(format_: str | Format | FormatSpec, exponent_bits: int | None = None) -> int:
    """Return the PE cycles that a block of weights of a format takes.

    Example:
        >>> [term_count(name) for name in ("fp3", "bitmod3", "int8")]
        [1, 2, 4]
    """
    if isinstance(format_, FormatSpec):
        return term_count(format_.format, exponent_bits)
    return term_table(format_, exponent_bits).steps


@lru_cache(maxsize=1024)
def _table(entry: Format, exponent_bits: int | None) -> TermTable | None:
    """The table, or None where the format has none."""
    if entry.is_plain or not entry.layout.is_grid or entry.candidates > MAX_SELECTORS:
        return None
    if isinstance(entry.element, IntType) and not entry.element.symmetric:
        return _booth(entry, 0, 2 ** (entry.element_bits - 1))
    integers, unit_exponent = _integers(entry)
    if integers is None:
        return None
    if np.array_equal(integers, IntType(entry.element_bits).levels[None]):
        return _booth(entry, unit_exponent, 0)
    found = _narrowest(integers, WIDEST if exponent_bits is None else exponent_bits)
    if found is None:
        return None
    width, significance, terms = found
    return _tabulate(entry.name, integers, significance, terms, unit_exponent, width)


def _narrowest(
    integers: NDArray[np.float64], widest: int
) -> tuple[int, tuple[int, ...], dict[int, Terms]] | None:
    """The narrowest exponent with the fewest steps, its significances and terms."""
    levels = sorted({abs(int(v)) for v in integers[np.isfinite(integers)]})
    least, best = max(1, *map(fewest_terms, levels)), None
    for width in range(NARROWEST, widest + 1):
        found = plan(levels, width)
        if found is not None and (best is None or len(found[0]) < len(best[1])):
            best = (width, *found)
        if best is not None and len(best[1]) == least:
            break
    return best


def _integers(entry: Format) -> tuple[NDArray[np.float64] | None, int]:
    """The levels as integers of a common unit ``2^n`` (NaN: none); None if they are too long."""
    tables = entry.tables.astype(np.float64)
    scaled = np.where(np.isfinite(tables), tables, 0) * 2.0**FINEST
    if not (np.rint(scaled) == scaled).all() or np.abs(scaled).max() >= 2.0**62:
        return None, 0
    divisor = int(np.gcd.reduce(np.abs(scaled).astype(np.int64).ravel()))
    unit_exponent = (divisor & -divisor).bit_length() - 1 - FINEST
    integers = np.where(np.isfinite(tables), np.ldexp(tables, -unit_exponent), np.nan)
    longest = max(fewest_terms(abs(int(v))) for v in integers[np.isfinite(integers)])
    return (integers if longest <= MAX_STEPS else None), unit_exponent


def _tabulate(
    name: str,
    integers: NDArray[np.float64],
    significance: tuple[int, ...],
    terms: dict[int, Terms],
    unit_exponent: int,
    width: int,
) -> TermTable:
    sign, man, exp = (np.zeros((*integers.shape, len(significance)), np.uint8) for _ in range(3))
    for at in np.argwhere(np.isfinite(integers)):
        value = int(integers[tuple(at)])
        for step, term in enumerate(terms[abs(value)]):
            if term is not None:
                index = (*at, step)
                negative = term.sign ^ (value < 0)
                sign[index], man[index], exp[index] = negative, 1, term.place - significance[step]
    has_value = np.isfinite(integers)
    return TermTable(name, sign, man, exp, significance, unit_exponent, 0, width, has_value)


def _booth(entry: Format, unit_exponent: int, offset: int) -> TermTable:
    """Radix-4 Booth digits of two's complement codes, less ``offset`` if they are not signed."""
    bits = entry.element_bits
    steps, codes = (bits + 1) // 2, np.arange(2**bits)
    signed = codes - offset if offset else np.where(codes >> (bits - 1), codes - 2**bits, codes)
    windows = np.stack([(signed << 1 >> 2 * step) & 7 for step in range(steps)], axis=-1)
    digits = np.array([0, 1, 1, 2, -2, -1, -1, 0])[windows][None]
    return TermTable(
        entry.name,
        sign=(digits < 0).astype(np.uint8),
        man=(digits != 0).astype(np.uint8),
        exp=(np.abs(digits) == 2).astype(np.uint8),
        significance=tuple(2 * step for step in range(steps)),
        unit_exponent=unit_exponent,
        offset=offset,
        exponent_bits=NARROWEST,
        has_value=np.ones((1, 2**bits), np.bool_),
    )
