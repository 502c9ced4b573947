"""How each weight code becomes bit-serial terms: the one table of PE, kernels and RTL decoder.

A level is a sum of terms ``(-1)^sign * man * 2^exp * 2^significance`` (times the format's unit),
one term a PE cycle, least significant first. The significance belongs to the step, not to the
code, because the lanes of a PE share it (BitMoD, arXiv 2411.11745; docs/pe_arithmetic.md).

Integers use radix-4 Booth digits: digit i covers two bits, ``significance = 2*i``, values 0, ±1,
±2. Asymmetric integers are recentred first: ``q - 2^(b-1)`` is a signed code of the same width.
Small floats are fixed-point numbers with few one-bits: each one-bit is a term.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from quant.common.errors import RequestError
from quant.datatypes import FloatType, IntType
from quant.formats import FORMATS, get_format
from quant.packing import U8
from quant.scheme import Format
from quant.spec import FormatSpec

MAX_EXP = 3
"""The exp field of a term is two bits wide."""


@dataclass(frozen=True, eq=False)
class TermTable:
    """The terms of every code of a format.

    Attributes:
        format: The format's name.
        sign: 1 where the term is negative, ``[selectors, codes, steps]`` uint8.
        man: 1 where there is a term, same shape.
        exp: The term's own exponent, 0..3, same shape.
        significance: The exponent shared by all lanes at each step, rising.
        unit_exponent: ``log2`` of the value of the integer 1.
        offset: What asymmetric integers subtract from code and zero point (``2^(b-1)``), else 0.
    """

    format: str
    sign: U8
    man: U8
    exp: U8
    significance: tuple[int, ...]
    unit_exponent: int
    offset: int

    @property
    def steps(self) -> int:
        """PE cycles that a block of ``lanes`` weights takes."""
        return len(self.significance)

    def value(self, selector: int, code: int) -> int:
        """Return the integer that a code's terms add up to, in units of ``2^unit_exponent``."""
        at = (selector, code)
        terms = zip(self.sign[at], self.man[at], self.exp[at], self.significance, strict=True)
        return sum((-1) ** int(s) * int(m) << (int(e) + shift) for s, m, e, shift in terms)


def pe_formats() -> list[str]:
    """Return the names of the formats that have terms."""
    return [name for name, entry in FORMATS.items() if _has_terms(entry)]


def _has_terms(entry: Format) -> bool:
    """Whether a format is of those that the decoder's table holds: integers, FP3, FP4, BitMoD."""
    if entry.rules[0] not in {"absmax", "minmax"} or entry.scale or entry.element_bits < 2:
        return False
    small_float = isinstance(entry.element, FloatType) and entry.element_bits <= 4
    return isinstance(entry.element, IntType) or small_float


@lru_cache(maxsize=256)
def term_table(name: str) -> TermTable:
    """Return the terms of a format.

    Raises:
        RequestError: unknown format, or one whose levels are no short sums of signed powers of two.
    """
    entry = get_format(name)
    if not _has_terms(entry):
        allowed = ", ".join(pe_formats())
        raise RequestError(f"format {name!r} cannot run on a bit-serial PE; it takes: {allowed}")
    if isinstance(entry.element, IntType):
        return _booth(entry, entry.element)
    return _one_bits(entry)


def term_count(format_: str | Format | FormatSpec) -> int:
    """Return the PE cycles that a block of weights of a format takes."""
    if isinstance(format_, FormatSpec):
        return term_count(format_.format)
    return term_table(format_ if isinstance(format_, str) else format_.name).steps


def _booth(entry: Format, element: IntType) -> TermTable:
    """Radix-4 Booth digits of two's complement codes."""
    bits, steps = element.bits, (element.bits + 1) // 2
    offset = 0 if element.symmetric else 2 ** (bits - 1)
    codes = np.arange(2**bits)
    signed = codes - offset if offset else np.where(codes >> (bits - 1), codes - 2**bits, codes)
    windows = np.stack([(signed << 1 >> 2 * step) & 7 for step in range(steps)], axis=-1)
    digits = np.array([0, 1, 1, 2, -2, -1, -1, 0])[windows][None]
    return TermTable(
        entry.name,
        sign=(digits < 0).astype(np.uint8),
        man=(digits != 0).astype(np.uint8),
        exp=(np.abs(digits) == 2).astype(np.uint8),
        significance=tuple(2 * step for step in range(steps)),
        unit_exponent=0,
        offset=offset,
    )


def _one_bits(entry: Format) -> TermTable:
    """One term for each one-bit of the magnitude; step t reaches the bits t..t+3."""
    unit = float(np.gcd.reduce(np.abs(entry.tables * 2**20).astype(np.int64).ravel())) / 2**20
    unit_exponent = int(np.floor(np.log2(unit)))
    integers = np.rint(np.ldexp(entry.tables, -unit_exponent)).astype(np.int64)
    steps = max(int(value).bit_count() for value in np.abs(integers).ravel())
    man, exp = (np.zeros((*integers.shape, steps), np.uint8) for _ in range(2))
    for at in np.ndindex(integers.shape):
        for step, place in _placed(abs(int(integers[at])), steps, entry.name):
            man[at][step], exp[at][step] = 1, place - step
    sign = man * (integers < 0)[..., None].astype(np.uint8)
    return TermTable(entry.name, sign, man, exp, tuple(range(steps)), unit_exponent, offset=0)


def _placed(magnitude: int, steps: int, name: str) -> list[tuple[int, int]]:
    """Give each one-bit of a magnitude the first free step that can reach its place."""
    placed, step = [], 0
    for place in range(magnitude.bit_length()):
        if magnitude >> place & 1:
            step = max(step, place - MAX_EXP)
            if step >= steps or place < step:
                raise RequestError(f"format {name!r}: level {magnitude} needs more terms than PEs")
            placed.append((step, place))
            step += 1
    return placed
