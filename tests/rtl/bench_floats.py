"""Dequantizer, rounder and adder, against exact numbers and SoftFloat."""

from __future__ import annotations

import random
import struct
from fractions import Fraction

import cocotb
import softfloatpy

from hwsim.pe.reference import FP16, FP32, Binary, rounded
from tests.rtl.bench import (
    COUNT,
    Dut,
    clock,
    compared,
    generator,
    reset,
    settle,
    signed,
    unpacked,
    value,
)
from tests.rtl.lanes import packed

OPERAND, SCALE, PRODUCT = 23, 8, 31
"""Bits of the dequantizers."""


class Dequantizer:
    """One instance: the operand, the digits that are to come, the product so far."""

    def __init__(self, rng: random.Random, digit_bits: int) -> None:
        self.rng, self.digit_bits = rng, digit_bits
        self.left = self.digit = 0
        self.operand = self.multiplier = 0
        self.product: int | None = None
        self.enable = self.start = False

    def choose(self) -> None:
        """Take the next digit, of a new number if there is none left."""
        self.enable = self.rng.random() < 0.7
        self.start = self.left == 0
        if self.start:
            limit = 1 << (OPERAND - 1)
            corners = [0, 1, -1, limit - 1, -limit]
            self.operand = self.rng.choice([*corners, *(self.rng.randrange(-limit, limit),) * 5])
            self.multiplier = self.rng.choice([0, 1, 255, *(self.rng.getrandbits(SCALE),) * 5])
            self.left = SCALE // self.digit_bits
        place = (self.left - 1) * self.digit_bits
        self.digit = self.multiplier >> place & (1 << self.digit_bits) - 1
        if self.enable:
            # The digits so far make the upper part of the multiplier.
            self.product, self.left = self.operand * (self.multiplier >> place), self.left - 1
        elif self.start:
            self.left = 0


@cocotb.test()
async def dequantizer(dut: Dut) -> None:
    """The product after every digit, with stalls; whole after the last."""
    rng = generator("dequantizer")
    every = [Dequantizer(rng, bits) for bits in (1, 2, 8)]
    ports = [getattr(dut, f"dq{unit.digit_bits}_digit_i") for unit in every]
    await reset(dut)
    for _ in range(COUNT):
        for unit, port in zip(every, ports, strict=True):
            unit.choose()
            port.value = unit.digit
        dut.dq_enable_i.value = packed((unit.enable for unit in every), 1)
        dut.dq_start_i.value = packed((unit.start for unit in every), 1)
        dut.dq_operand_i.value = packed((unit.operand for unit in every), OPERAND)
        await settle()
        await clock(dut)
        if all(unit.product is not None for unit in every):
            got = unpacked(value(dut.dq_product_o), PRODUCT, 3)
            assert [signed(v, PRODUCT) for v in got] == [unit.product for unit in every]
    compared("dequantizer", COUNT)


def bits_of(number: float, to: Binary) -> int:
    """Return a number's word in its format."""
    form = "<f" if to is FP32 else "<e"
    return int.from_bytes(struct.pack(form, number), "little")


def to_round(rng: random.Random, bits: int) -> int:
    """Return a number of any length: random, a tie or its neighbour, all ones, a power, zero."""
    length = rng.randint(1, bits - 1)
    top, kept = 1 << (length - 1), rng.choice([11, 24, rng.randint(1, 26)])
    tie = (top | rng.getrandbits(length)) & (1 << length) - 1
    if length > kept:
        half = 1 << (length - kept - 1)
        tie = tie & -2 * half | half
    found = rng.choice([top | rng.getrandbits(length - 1), tie, tie + 1, tie - 1, 2 * top - 1, top])
    found = min(max(found, 0), (1 << (bits - 1)) - 1)
    found = 0 if rng.random() < 0.01 else found
    return -found - (rng.random() < 0.01) if rng.random() < 0.5 else found


@cocotb.test()
async def float_rounder(dut: Dut) -> None:
    """FP32 and FP16, of every size: normal, subnormal, too small, too large, on a tie, zero."""
    rng = generator("float_rounder")
    for _ in range(COUNT):
        to = rng.choice([FP32, FP16])
        size = rng.choice([rng.randint(to.least - 3, to.overflow + 2), rng.randint(-1900, 1900)])
        size = rng.choice([size, to.least, to.least + to.precision, to.overflow - 1])
        values = {bits: to_round(rng, bits) for bits in (49, 26)}
        # The larger number gets that size.
        exponent = size - max(abs(v).bit_length() for v in values.values()) + rng.randint(0, 2)
        for bits, number in values.items():
            getattr(dut, f"fr{bits}_value_i").value = number & (1 << bits) - 1
        dut.fr_exponent_i.value = exponent & 0xFFF
        dut.fr_fp16_i.value = int(to is FP16)
        await settle()
        for bits, number in values.items():
            wanted = bits_of(rounded(Fraction(number) * Fraction(2) ** exponent, to), to)
            got = value(getattr(dut, f"fr{bits}_float_o"))
            assert got == wanted, (bits, number, exponent, to, hex(got), hex(wanted))
    compared("float_rounder", COUNT)


NAN = 0x7FC00000
SPECIAL = [0, 1, 0x7FFFFF, 0x800000, 0x800001, 0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FFFFFFF, NAN]
"""Zero, subnormals, the smallest and largest normals, Inf and NaN; without sign."""


def pair(rng: random.Random) -> tuple[int, int]:
    """Return two words: any, of exponents close by, nearly opposite, special, or on a tie."""
    a = rng.getrandbits(32)
    kind = rng.randrange(6)
    if kind == 0:
        return a, rng.getrandbits(32)
    if kind == 1:
        return a, rng.choice(SPECIAL) | rng.getrandbits(1) << 31
    if kind == 2:
        both = (rng.choice(SPECIAL) | rng.getrandbits(1) << 31 for _ in range(2))
        return next(both), next(both)
    if kind == 3:  # cancellation
        return a, (a ^ 1 << 31) + rng.randint(-3, 3) & 0xFFFFFFFF
    field, low = a >> 23 & 255, rng.choice([0, rng.getrandbits(3)])
    other = min(max(field + rng.randint(-27, 27), 0), 255)
    if kind == 4:  # the smaller one has few bits: ties
        a, few = a & 0xFF80000F, rng.choice([0, 1, 1 << 22, (1 << 23) - 1])
        return a, rng.getrandbits(1) << 31 | other << 23 | few
    return a & ~7 | low, rng.getrandbits(1) << 31 | other << 23 | rng.getrandbits(23)


def softfloat_sum(a: int, b: int) -> int:
    """Return SoftFloat's sum; any NaN is the canonical one."""
    one, other = (softfloatpy.Float32.from_bytes(word.to_bytes(4, "big")) for word in (a, b))
    found = int.from_bytes(softfloatpy.f32_add(one, other).to_bytes(), "big")
    return NAN if found & 0x7FFFFFFF > 0x7F800000 else found


@cocotb.test()
async def fp32_adder(dut: Dut) -> None:
    """Every bit of SoftFloat's sum."""
    rng = generator("fp32_adder")
    softfloatpy.set_rounding_mode(softfloatpy.RoundingMode.NEAR_EVEN)
    for _ in range(COUNT):
        a, b = pair(rng)
        if rng.getrandbits(1):
            a, b = b, a
        dut.u_add_a_i.value, dut.u_add_b_i.value = a, b
        await settle()
        got, wanted = value(dut.u_add_sum_o), softfloat_sum(a, b)
        assert got == wanted, (hex(a), hex(b), hex(got), hex(wanted))
    compared("fp32_adder", COUNT)
