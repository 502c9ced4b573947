"""Quick checks of the PE's model against numbers that do not come from it.

Run by ``mutation_model`` on every mutant of the model, in a process of its own: the code it ends
with says whether the mutant was found. Each check is a function without arguments.
"""

from __future__ import annotations

import math
import os
import random
import struct
import sys
import zlib
from fractions import Fraction
from functools import partial

import numpy as np
import softfloatpy
from numpy.typing import NDArray

from hwsim.pe import PUBLISHED, Arithmetic, pe_formats, reference, term_table
from hwsim.pe.activations import ACTIVATIONS
from quant.formats.registry import FORMATS
from tests.verification.model_layers import (
    check,
    clocks_are_the_models,
    kernels_are_the_reference,
    matmul_is_near,
    operands_are_right,
    refused,
    side_bands_are_numbers,
)

RULES = (Arithmetic(), PUBLISHED, Arithmetic(lanes=3, guard_bits=5, accumulator_bits=9))
STEPS = {"int2": 1, "int3": 2, "int4": 2, "int5": 3, "int6": 3, "int8": 4, "fp3": 1, "fp4": 2,
         "bitmod3": 2, "bitmod4": 2, "int8-asym": 4, "ternary": 1, "pot4": 1}  # fmt: skip


def terms_are_levels() -> None:
    for name in pe_formats():
        levels = FORMATS[name].tables
        table = term_table(name)
        check(table.steps == STEPS.get(name, table.steps), name)
        check(table.significance[0] == 0 and max(table.significance) <= 6, name)
        check(int(table.exp.max()) < 2**table.exponent_bits, name)
        for at in np.ndindex(*levels.shape):
            total = Fraction(0)
            for s in range(table.steps):
                part = Fraction(2) ** (int(table.exp[*at, s]) + table.significance[s])
                total += int(table.man[*at, s]) * (-1) ** int(table.sign[*at, s]) * part
            check(table.value(*at) == total, name)
            check(bool(table.has_value[at]) == bool(np.isfinite(levels[at])), name)
            if np.isfinite(levels[at]):
                unit = Fraction(2) ** table.unit_exponent
                check(total * unit == Fraction(float(levels[at])) - table.offset, (name, at))
            else:
                check(not table.man[at].any(), name)
    check(len(pe_formats(2)) < len(pe_formats(5)))
    digest = 0
    for name in pe_formats():
        for width in range(2, 6):
            if name in pe_formats(width):
                table = term_table(name, width)
                own = (table.significance, table.exponent_bits, table.unit_exponent, table.offset)
                parts = table.sign.tobytes() + table.man.tobytes() + table.exp.tobytes()
                digest = zlib.crc32(repr(own).encode() + parts, digest)
    check(digest == TERMS_DIGEST, digest)
    refused(lambda: term_table("fp8-e4m3", 2), "exponents of")
    refused(lambda: term_table("fp16"), "it takes")


TERMS_DIGEST = 4254571764


def words_are_numbers() -> None:
    """Every word of every activation format, against numpy, ml-free arithmetic and struct."""
    for name, form in ACTIVATIONS.items():
        words = np.arange(1 << form.bits)
        parts = form.fields(words)
        value = np.ldexp((1 - 2.0 * parts.sign) * parts.mantissa, parts.exponent - form.point)
        wanted = _numbers(name, words)
        check(bool((parts.finite == np.isfinite(wanted)).all()), name)
        check(bool((value[parts.finite] == wanted[parts.finite]).all()), name)
        check(int(parts.exponent[parts.finite].max()) == form.largest_exponent, name)
        check(int(parts.mantissa[parts.finite].max()).bit_length() == form.mantissa_bits, name)
        check(int(parts.exponent.min()) == 1, name)
        for word in [*range(0, 1 << form.bits, max(1, 1 << form.bits >> 9)), (1 << form.bits) - 1]:
            if not parts.finite[word]:
                refused(partial(reference.decode, word, form), "infinite or NaN")
                continue
            own = (int(parts.sign[word]), int(parts.exponent[word]), int(parts.mantissa[word]))
            found = reference.decode(word, form)
            check((found.sign, found.exponent, found.mantissa) == own, (name, word))
        back = form.words(wanted[parts.finite])
        check(bool((back == words[parts.finite]).all()), name)
    refused(lambda: ACTIVATIONS["int8"].words(np.array([[1.5]])), "[0, 0] is 1.5")
    refused(lambda: ACTIVATIONS["int8"].words(np.array([[128.0]])), "128")
    refused(lambda: ACTIVATIONS["int8"].words(np.array([[-129.0]])), "-129")
    check(int(ACTIVATIONS["fp16"].words(np.array([1e6]))[0]) == 0x7C00)


def _numbers(name: str, words: NDArray[np.int64]) -> NDArray[np.float64]:
    if name == "fp16":
        return words.astype(np.uint16).view(np.float16).astype(np.float64)
    if name == "bf16":
        return (words.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    if name == "int8":
        return words.astype(np.uint8).view(np.int8).astype(np.float64)
    if name == "fp8-e5m2":
        return (words << 8).astype(np.uint16).view(np.float16).astype(np.float64)
    sign, field, fraction = words >> 7, words >> 3 & 15, words & 7
    size = np.where(field > 0, (8 + fraction) * 2.0 ** (field - 10), fraction * 2.0**-9)
    return np.where(words & 127 == 127, np.nan, np.where(sign, -size, size))


def rounding_is_ieee() -> None:
    """Sums and products of FP32 numbers against SoftFloat; halves against struct."""
    rng = random.Random(1)
    softfloatpy.set_rounding_mode(softfloatpy.RoundingMode.NEAR_EVEN)
    edges = [0, 1 << 31, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0x3F800000]
    pairs = [(a, b) for a in edges for b in edges]
    for _ in range(1500):
        a = rng.getrandbits(32)
        b = rng.getrandbits(32) if rng.random() < 0.3 else (a ^ rng.getrandbits(25) ^ 1 << 31)
        pairs.append((a, b))
    for a, b in pairs:
        x, y = (struct.unpack("f", struct.pack("I", v))[0] for v in (a, b))
        if math.isnan(x) or math.isnan(y):
            continue
        if y == 0:  # a factor of 0 is a rule of its own
            kept = 0.0 if math.isfinite(x) else x
            check(reference.multiply_rounded(x, y, reference.FP32) == kept, hex(a))
            continue
        p, q = (softfloatpy.Float32.from_bytes(v.to_bytes(4, "big")) for v in (a, b))
        for done, wanted in (
            (reference.add(x, y), softfloatpy.f32_add(p, q)),
            (reference.multiply_rounded(x, y, reference.FP32), softfloatpy.f32_mul(p, q)),
        ):
            bits = int.from_bytes(wanted.to_bytes(), "big")
            own = int(np.float32(done).view(np.uint32))
            check(math.isnan(done) or float(np.float32(done)) == done, "no FP32 number")
            check(own == bits or (math.isnan(done) and bits & 0x7FFFFF > 0), (hex(a), hex(b)))
    for _ in range(1500):
        value = Fraction(rng.getrandbits(24) - (1 << 23), 1) * Fraction(2) ** rng.randrange(-40, 4)
        exact = float(value)  # 24 bits: exact
        with np.errstate(over="ignore"):
            half = np.float16(exact)
        check(reference.rounded(value, reference.FP16) == float(half), value)
    check(str(reference.rounded(Fraction(-1, 1 << 200), reference.FP32)) == "-0.0")
    third = reference.rounded(Fraction(1, 3), reference.FP32)
    check(third == float(np.float32(1) / np.float32(3)), third)
    check(str(reference.rounded(Fraction(0), reference.FP32)) == "0.0")


def groups_are_near() -> None:
    """Groups in an accumulator that is wide enough are exact; others keep the bound; goldens."""
    rng, digest = random.Random(2), 0
    for name in ("int8", "bitmod4", "int4-asym", "fp3", "int3"):
        table = term_table(name)
        for rule in RULES:
            for spread in (0, 3, 14):
                digest = zlib.crc32(repr(_group(rng, name, rule, spread)).encode(), digest)
                check(table.steps > 0)
    check(digest == GROUPS_DIGEST, digest)


GROUPS_DIGEST = 909638779


def _group(rng: random.Random, name: str, rule: Arithmetic, spread: int) -> tuple[int, ...]:
    """Run a group; check it against rationals; return what it gave."""
    table, count = term_table(name), rng.randrange(1, 40)
    inputs = [
        reference.Activation(rng.getrandbits(1), rng.randrange(15 - spread, 16 + spread),
                             rng.choice([0, 1024, 2047, rng.randrange(2048)]))
        for _ in range(count)
    ]  # fmt: skip
    codes = [rng.randrange(table.man.shape[1]) for _ in range(count)]
    got = reference.group_sum(inputs, codes, 0, table, rule)
    ones = reference.activation_sum(inputs, rule)
    check(got.steps == -(-count // rule.lanes) * table.steps)
    check(0 <= got.busy_steps <= got.steps)
    for kept, values in (
        (got.partial, [table.value(0, code) for code in codes]),
        (ones, [1] * count),
    ):
        check(-(2**rule.accumulator_bits) <= kept.mantissa < 2**rule.accumulator_bits)
        exact = sum(
            (Fraction((-1) ** a.sign * a.mantissa * v) * Fraction(2) ** (a.exponent - 25)
             for a, v in zip(inputs, values, strict=True)), Fraction(0),
        )  # fmt: skip
        unit = Fraction(2) ** (kept.exponent - rule.point)
        top = max(a.exponent for a in inputs) + int(table.exp.max()) + table.significance[-1]
        one = Fraction(2) ** (top - rule.point)
        width = 11 + rule.guard_bits + 2 + got.steps.bit_length()
        last = one * Fraction(2) ** max(0, width - rule.accumulator_bits)
        check(abs(kept.mantissa * unit - exact) <= got.steps * (rule.lanes * one + 2 * last))
        if spread == 0 and rule.accumulator_bits == 22 and count < 5:
            check(kept.mantissa * unit == exact)
    return got.partial.mantissa, got.partial.exponent, got.busy_steps, ones.mantissa, ones.exponent


CHECKS = (terms_are_levels, words_are_numbers, rounding_is_ieee, groups_are_near, matmul_is_near,
          operands_are_right, clocks_are_the_models, kernels_are_the_reference,
          side_bands_are_numbers)  # fmt: skip


def main() -> None:
    """Run the checks that are named, or all."""
    names = sys.argv[1:]
    for function in CHECKS:
        if not names or function.__name__ in names:
            function()


if __name__ == "__main__":
    os.environ.setdefault("NUMBA_NUM_THREADS", "1")
    main()
