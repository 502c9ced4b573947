"""Vectors of decoders, rounder, adder and dequantizer, with results by the specification."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import softfloatpy

from hwsim.pe import reference
from hwsim.pe.activations import ACTIVATIONS
from hwsim.pe.arithmetic import MAX_STEPS
from hwsim.pe.terms import term_table
from hwsim.tile.side_band import FORMAT_BITS, rtl_formats
from tests.rtl.vectors import Case


def decoder(exponent_bits: int) -> Iterator[Case]:
    """Every code of every format in every step, and formats that do not exist there."""
    rng, numbers = random.Random(1), rtl_formats(exponent_bits)
    for name, number in numbers.items():
        table = term_table(name, exponent_bits)
        selectors, codes, steps = table.man.shape
        for selector, code in np.ndindex(selectors, codes):
            at = (selector, code)
            flags = sum(int(table.man[*at, step]) << step for step in range(steps))
            above = rng.randrange(256) & ~(codes - 1)  # ignored
            for step in range(MAX_STEPS):
                term = 0
                if step < steps and table.man[*at, step]:
                    term = int(table.sign[*at, step]) << 6 | 1 << 5 | int(table.exp[*at, step])
                given = {"format_i": number, "selector_i": selector, "step_i": step}
                yield given | {"code_i": code | above}, {"term_o": term, "man_o": flags}
    for number in sorted(set(range(1 << FORMAT_BITS)) - set(numbers.values())):
        given = {"format_i": number, "selector_i": 0, "code_i": rng.randrange(256)}
        yield given | {"step_i": rng.randrange(4)}, {"term_o": 0, "man_o": 0}


def activations(name: str) -> Iterator[Case]:
    """Every word."""
    form = ACTIVATIONS[name]
    for word in range(1 << form.bits):
        wanted = {"sign_o": word >> (form.bits - 1), "nonfinite_o": 0}
        try:
            found = reference.decode(word, form)
        except ValueError:
            yield {"word_i": word}, wanted | {"mantissa_o": 0, "nonzero_o": 0, "nonfinite_o": 1}
            continue
        size = {"exponent_o": found.exponent, "mantissa_o": found.mantissa}
        yield {"word_i": word}, wanted | size | {"nonzero_o": int(found.mantissa > 0)}


def dequantizer(bits: int) -> Iterator[Case]:
    """Numbers in digits of so many bits, most significant first, with gaps."""
    rng = random.Random(2)
    product: int | None = None
    for _ in range(150):
        operand, number = rng.randrange(-(1 << 11), 1 << 11), rng.randrange(256)
        for place in range(8 // bits - 1, -1, -1):
            while True:
                enable = rng.random() < 0.7
                given = {"enable_i": int(enable), "start_i": int(place == 8 // bits - 1)}
                digit = number >> bits * place & (1 << bits) - 1
                given |= {"digit_i": digit, "operand_i": operand & 0xFFF}
                yield given, {} if product is None else {"product_o": product & 0xFFFFF}
                if enable:
                    product = operand * (number >> bits * place)
                    break


def rounder(bits: int) -> Iterator[Case]:
    """Values of any length and exponent, ties and their neighbours, ends of both formats."""
    rng = random.Random(3)
    for index in range(12000):
        fp16 = index % 2
        form = reference.FP16 if fp16 else reference.FP32
        length = rng.randrange(1, bits)
        value = rng.getrandbits(length) | 1 << (length - 1)
        if rng.random() < 0.5:  # few bits: exact numbers, ties
            keep = max(0, length - form.precision - rng.randrange(3))
            value = min((value >> keep << keep) + rng.choice([-1, 0, 0, 1]), 2 ** (bits - 1) - 1)
        if rng.random() < 0.3:  # the leading one, the half, and one bit far below
            value = 1 << (length - 1) | 1 << rng.randrange(length) | 1 << rng.randrange(length)
        top = rng.choice([form.overflow, form.least, form.least + form.precision, 0])
        exponent = top - length + rng.randrange(-4, 4)
        if rng.random() < 0.1:
            exponent = rng.randrange(-2048, 2048)
        if rng.random() < 0.1:  # all ones: a carry through the whole mantissa
            value = (1 << length) - 1
        if rng.random() < 0.4:  # few bits are kept: a half, and one bit below decides
            length, kept = rng.randrange(30, bits), rng.choice([form.precision, rng.randrange(12)])
            value = 1 << (length - 1) | 1 << (length - 1 - kept)
            value |= 1 << (length - 1 - rng.randrange(kept, length)) if rng.random() < 0.8 else 0
            exponent = form.least + kept - length
            if rng.random() < 0.2:  # as small as nothing, but for one bit of the exponent
                exponent -= rng.choice([32, 64, 128, 256, 512, 1024])
        exponent = max(-2048, min(2047, exponent))
        value = 0 if index < 4 else (-value if rng.random() < 0.5 else value)
        number = reference.rounded(Fraction(value) * Fraction(2) ** exponent, form)
        word = np.float16(number).view(np.uint16) if fp16 else np.float32(number).view(np.uint32)
        given = {"value_i": value & (2**bits - 1), "exponent_i": exponent & 0xFFF, "fp16_i": fp16}
        yield given, {"float_o": int(word)}


EDGES = (0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0xFFFFFF, 0x1000000, 0x3F800000, 0x3F800001,
         0x3FFFFFFF, 0x7F7FFFFE, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FC00000, 0x7FFFFFFF,
         )  # fmt: skip


def adder() -> Iterator[Case]:
    """Edges with edges; numbers near each other, of like exponents, anywhere; by SoftFloat."""
    rng = random.Random(4)
    edges = [sign | edge for edge in EDGES for sign in (0, 1 << 31)]
    pairs = [(a, b) for a in edges for b in edges]
    for _ in range(16000):
        a = rng.getrandbits(32)
        b = rng.getrandbits(32)
        near = rng.choice([0, 0, 1, 2, 3, 8, 23, 24, 25, 26, 27])
        if rng.random() < 0.8:
            field = max(0, min(254, (a >> 23 & 255) + rng.choice([-near, near])))
            b = b & 0x807FFFFF | field << 23
        if rng.random() < 0.4:  # few bits: ties
            few = rng.randrange(24)
            a, b = a >> few << few, b & 0xFF800000 | rng.choice([0, 1, 2, 3, 0x7FFFFF, 0x400000])
        if rng.random() < 0.2:
            b = a ^ 1 << 31 ^ rng.choice([0, 1, 2, 3, 0x800000])
        if rng.random() < 0.2:  # single bits far apart
            a = a & 0xFF800000 | 1 << rng.randrange(23)
            b = b & 0xFF800000 | 1 << rng.randrange(23)
        if rng.random() < 0.1:  # across a power of two
            a &= 0xFF800000
            b = (a ^ 1 << 31) - rng.choice([1, 2, 3, 5]) & 0xFFFFFFFF
        if rng.random() < 0.2:  # subnormals and the smallest normals
            a, b = a & 0x81FFFFFF, b & 0x81FFFFFF
        if rng.random() < 0.1:
            a, b = a | 0x7E000000, b | 0x7E000000
        pairs.append((a, b))
    for a, b in pairs:
        yield {"a_i": a, "b_i": b}, {"sum_o": _softfloat_sum(a, b)}


def _softfloat_sum(a: int, b: int) -> int:
    softfloatpy.set_rounding_mode(softfloatpy.RoundingMode.NEAR_EVEN)
    x, y = (softfloatpy.Float32.from_bytes(v.to_bytes(4, "big")) for v in (a, b))
    total = int.from_bytes(softfloatpy.f32_add(x, y).to_bytes(), "big")
    return 0x7FC00000 if total & 0x7FFFFFFF > 0x7F800000 else total
