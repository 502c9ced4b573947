"""Every single product: all words of every activation format times all codes of every format.

The wanted result is made on numbers, not on mantissas and exponents: a product is a sum of signed
powers of two times the word, held in multiples of a quantum, and every cut is one toward minus
infinity. For one weight the alignment of the lanes cuts nothing, so this is the stated truncation:

    quantum = 2^(largest own exponent so far) below the guard bits, times 2 for every bit that the
    accumulator is too long by; each step: held = floor(held, quantum) + floor(term, quantum)

Where that cuts nothing the result is the exact product, rounded to FP32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hwsim.pe import Arithmetic, matmul, pe_formats, term_table
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.formats.registry import get_format
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor
from tests.verification import steps
from tests.verification.finding import Finding
from tests.verification.tensors import (
    F64,
    WORD_BITS,
    Words,
    all_words,
    is_finite,
    one_thread,
    same_bits,
    tensor,
    values,
)

F32 = NDArray[np.float32]
Factor = tuple[NDArray[np.int64], NDArray[np.int64]]
PART = "single products"
THIN = 1021
"""Stride of a thinned set: a prime, so that signs, exponents and fractions all vary."""
CHUNK = 4096
"""Words that are multiplied at once."""
FRACTION = {"fp16": 10, "bf16": 7, "fp8-e4m3": 3, "fp8-e5m2": 2, "int8": 0}
"""Bits below a word's leading one."""


@dataclass
class Count:
    """Products compared; those that differ from what is stated; those that are not exact."""

    products: int = 0
    wrong: int = 0
    cut: int = 0


def every_code(name: str) -> Iterator[tuple[U8, U8, F64]]:
    """Yield codes and selectors of all levels of a format, and the levels, each ``[out]``.

    All at once, or a table at a time where a tensor has one table only.
    """
    entry = get_format(name)
    levels = entry.tables.astype(np.float64)
    selectors, codes = np.nonzero(np.isfinite(levels))
    parts = selectors if entry.selects_per_tensor else np.zeros_like(selectors)
    for part in np.unique(parts):
        table, code = selectors[parts == part], codes[parts == part]
        yield code.astype(np.uint8), table.astype(np.uint8), levels[table, code]


def column(name: str, codes: U8, selectors: U8) -> QuantizedTensor:
    """Return a weight of one column: a group of one code a row, scale 1."""
    return tensor(name, codes[:, None], 1, selectors=selectors[:, None])


def rounded(exact: F64) -> F32:
    """Round to FP32 by the machine's own conversion, which ``test_oracle.py`` checks."""
    with np.errstate(over="ignore", under="ignore"):
        return exact.astype(np.float32)


def stated(words: Words, factors: list[Factor], rule: Arithmetic) -> F64:
    """Return words times factors with the stated truncation, not yet rounded: ``[words, out]``.

    The unit of all integers is the word's last place over ``2^guard_bits``.

    Args:
        words: Finite words.
        factors: One a step: factor ``[out]`` (0 or a signed power of two) and its own exponent.
        rule: Widths.
    """
    number = values(words, rule.activation)
    last = last_place(number, rule.activation)
    whole = np.rint(number / last).astype(np.int64)[:, None] << rule.guard_bits
    held, quantum = np.zeros_like(whole), np.ones_like(whole)
    for factor, exponent in factors:
        term = whole * factor
        quantum = np.maximum(quantum, np.where(factor != 0, 1 << exponent, 1))
        total = held // quantum + term // quantum
        # Once, by the length before the cut, which may leave -2^bits; a step of zero does nothing.
        excess = np.where(term != 0, length(total) - rule.accumulator_bits, 0)
        cut = 1 << np.maximum(excess, 0)
        total, quantum = total // cut, quantum * cut
        held = total * quantum
    return held * last[:, None] * 2.0**-rule.guard_bits


def length(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the bits of magnitudes, below 2^53."""
    return np.asarray(np.frexp(abs(numbers).astype(np.float64))[1], np.int64)


def factors_of(name: str, codes: U8, selectors: U8, rule: Arithmetic) -> list[Factor]:
    """Return what each step multiplies by, from the format's terms."""
    table = term_table(name, rule.exponent_bits)
    at = (selectors.astype(np.intp), codes.astype(np.intp))
    parts = [part[at].astype(np.int64) for part in (table.man, table.sign, table.exp)]
    return [
        (man * (1 - 2 * sign) << (exp + shift), exp)
        for shift, man, sign, exp in zip(
            table.significance, *(part.T for part in parts), strict=True
        )
    ]


def last_place(number: F64, activation: str) -> F64:
    """Return the weight of the lowest bit of numbers of an activation format."""
    if activation == "int8":
        return np.ones(number.shape)
    least = {"fp16": -24, "bf16": -133, "fp8-e4m3": -9, "fp8-e5m2": -16}[activation]
    exponent = np.frexp(number)[1] - 1 - FRACTION[activation]
    return np.ldexp(1.0, np.where(number == 0, least, np.maximum(exponent, least)))


def wanted(
    words: Words, name: str, codes: U8, selectors: U8, levels: F64, rule: Arithmetic
) -> tuple[F32, int]:
    """Return the results of finite words ``[words, out]``, and how many are not exact.

    Asymmetric integers are ``(q - 2^(b-1)) * a + 2^(b-1) * a``, each rounded to FP32.
    """
    number, offset = values(words, rule.activation)[:, None], term_table(name).offset
    unit = 2.0 ** term_table(name, rule.exponent_bits).unit_exponent
    product = unit * stated(words, factors_of(name, codes, selectors, rule), rule)
    cut = int(np.count_nonzero(product != number * (levels - offset)))
    with np.errstate(invalid="ignore", over="ignore"):
        result = np.float32(0) + rounded(product)
        if offset:
            one = np.ones(1, np.int64)
            result = result + rounded(offset * stated(words, [(one, one - 1)], rule))
    return np.where(np.isnan(result), np.float32(np.nan), result), cut


def check(name: str, base: Arithmetic, thin: int, count: Count) -> None:
    """Compare one format; every ``thin``-th word (an odd stride takes all kinds)."""
    rule = replace(base, exponent_bits=term_table(name).exponent_bits)
    for codes, selectors, levels in every_code(name):
        _check(name, (codes, selectors, levels), rule, all_words(base.activation)[::thin], count)


def _check(
    name: str, every: tuple[U8, U8, F64], rule: Arithmetic, words: Words, count: Count
) -> None:
    codes, selectors, levels = every
    weight, activation = column(name, codes, selectors), rule.activation
    for start in range(0, len(words), CHUNK):
        part = words[start : start + CHUNK]
        with np.errstate(invalid="ignore"):
            x = values(part, activation).astype(np.float32)[:, None]
        y, _ = matmul(weight, x, arithmetic=rule, nonfinite="nan")
        finite = is_finite(part, activation)
        good, cut = wanted(part[finite], name, codes, selectors, levels, rule)
        expected = np.full(y.shape, np.nan, np.float32)
        expected[finite] = good
        count.products += y.size
        count.wrong += int(np.count_nonzero(~same_bits(np.asarray(y), expected)))
        count.cut += cut


def refusals() -> Finding:
    """Every word that is no number and every code that stands for none must be refused."""
    count = failures = 0
    for activation in WORD_BITS:
        words = all_words(activation)
        weight = column("int4", np.array([1], np.uint8), np.array([0], np.uint8))
        for word in words[~is_finite(words, activation)][:: 1 if activation != "fp16" else 7]:
            x, rule = (
                np.array([[_number(int(word), activation)]]),
                Arithmetic(activation=activation),
            )
            failures += not _refused(weight, x, rule)
            count += 1
    for name in pe_formats():
        levels = get_format(name).tables
        for selector, code in np.argwhere(~np.isfinite(levels)):
            weight = column(name, np.array([code], np.uint8), np.array([selector], np.uint8))
            failures += not _refused(weight, np.ones((1, 1)), None)
            count += 1
    what = "words and weight codes that are no numbers are refused"
    return Finding(PART, what, count, "words and codes", failures)


def _number(word: int, activation: str) -> float:
    """Inf as Inf, NaN as NaN: what a caller would pass."""
    infinite = {"fp16": 0x7C00, "bf16": 0x7F80, "fp8-e5m2": 0x7C}.get(activation)
    top = 1 << (WORD_BITS[activation] - 1)
    if word & (top - 1) == infinite:
        return -np.inf if word & top else np.inf
    return np.nan


def _refused(weight: QuantizedTensor, x: F64, rule: Arithmetic | None) -> bool:
    try:
        matmul(weight, x, arithmetic=rule)
    except RequestError:
        return True
    return False


def exact_products(scale: str) -> Iterator[Finding]:
    """Yield one finding for each activation format, at the default widths.

    A product of a format of at most 4 bits that is not exact is a failure, too.
    """
    for activation in WORD_BITS:
        count, inexact, short = _count(Arithmetic(activation=activation), scale)
        note = "all equal the exact product rounded to FP32"
        if inexact:
            note = "cut as stated by the alignment of far apart terms: " + ", ".join(inexact)
        what = f"{activation} words x all codes of {len(pe_formats())} formats, bit for bit"
        yield Finding(PART, what, count.products, "products", count.wrong + short, note)


def cut_products(scale: str) -> Iterator[Finding]:
    """Yield a finding for each of two narrow accumulators, whose products are cut as stated."""
    for guard_bits, bits in ((0, 9), (3, 12)):
        rule = Arithmetic(guard_bits=guard_bits, accumulator_bits=bits)
        count, _, _ = _count(rule, scale)
        what = f"fp16 words x all codes, {guard_bits} guard bits, accumulator of {bits}"
        note = f"{count.cut:,} cut, all as stated"
        yield Finding(PART, what, count.products, "products", count.wrong, note)


def _count(rule: Arithmetic, scale: str) -> tuple[Count, list[str], int]:
    """All formats: the count, formats with cuts, and how many of those have at most 4 bits."""
    thin = 1 if scale == "full" or WORD_BITS[rule.activation] == 8 else THIN
    count, inexact, short = Count(), [], 0
    for name in track(pe_formats(), f"products {rule.activation}"):
        before = count.cut
        check(name, rule, thin, count)
        if count.cut > before:
            inexact.append(f"{name} ({count.cut - before:,})")
            short += get_format(name).element_bits <= 4
    return count, inexact, short


def run(scale: str) -> list[Finding]:
    """Return the findings; ``quick`` takes every 1021st of 16-bit words, ``full`` every one."""
    with one_thread():
        others = [*cut_products(scale), refusals(), *steps.run()]
        return [*exact_products(scale), *others]
