"""Stages 1 to 3 of the PE against ``hwsim.pe.reference``."""

from __future__ import annotations

import random

import cocotb

from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.reference import Activation, Partial, accumulate, multiply
from tests.rtl.bench import COUNT, Dut, compared, generator, settle, signed, unpacked, value
from tests.rtl.lanes import Term, nonzero, operands, packed

RULES = {
    "4": Arithmetic(),
    "3": Arithmetic(lanes=3, guard_bits=0, exponent_bits=5, activation="bf16"),
    "1": Arithmetic(lanes=1, activation="fp8-e4m3"),
}
"""Of the instances, by their lanes."""


@cocotb.test()
async def exponent_match(dut: Dut) -> None:
    """Largest exponent and every gap that counts."""
    rng = generator("exponent_match")
    for _ in range(COUNT):
        wanted = {}
        for name, rule in RULES.items():
            acts, terms = operands(rng, rule)
            has = nonzero(acts, terms)
            exponents = [a.exponent + t[2] for a, t in zip(acts, terms, strict=True)]
            wanted[name] = (exponents, has)
            bits = rule.activations.exponent_bits
            getattr(dut, f"em{name}_act_i").value = packed((a.exponent for a in acts), bits)
            packed_terms = packed((t[2] for t in terms), rule.exponent_bits)
            getattr(dut, f"em{name}_term_i").value = packed_terms
            getattr(dut, f"em{name}_nonzero_i").value = packed(has, 1)
        await settle()
        for name, (exponents, has) in wanted.items():
            rule = RULES[name]
            largest = max((e for e, there in zip(exponents, has, strict=True) if there), default=0)
            assert value(getattr(dut, f"em{name}_largest_o")) == largest, (name, exponents, has)
            bits = rule.largest_exponent.bit_length()
            gaps = unpacked(value(getattr(dut, f"em{name}_gap_o")), bits, rule.lanes)
            for gap, exponent, there in zip(gaps, exponents, has, strict=True):
                assert not there or gap == largest - exponent, (name, exponents, has)
    compared("exponent_match", COUNT)


@cocotb.test()
async def serial_multiply(dut: Dut) -> None:
    """A step's sum; gaps of lanes without a product are of any value."""
    rng = generator("serial_multiply")
    for _ in range(COUNT):
        wanted = {}
        for name, rule in RULES.items():
            acts, terms = operands(rng, rule)
            result = multiply(acts, terms, rule)
            wanted[name] = 0 if result is None else result[0]
            drive_products(dut, name, acts, terms, 0 if result is None else result[1], rng)
        await settle()
        for name, total in wanted.items():
            bits = RULES[name].step_bits + 1
            assert signed(value(getattr(dut, f"sm{name}_sum_o")), bits) == total, name
    compared("serial_multiply", COUNT)


def drive_products(
    dut: Dut,
    name: str,
    acts: list[Activation],
    terms: list[Term],
    largest: int,
    rng: random.Random,
) -> None:
    """Show an instance its lanes."""
    rule, has = RULES[name], nonzero(acts, terms)
    width = rule.largest_exponent.bit_length()
    gaps = [
        largest - a.exponent - t[2] if there else rng.getrandbits(width)
        for a, t, there in zip(acts, terms, has, strict=True)
    ]
    signs = (a.sign ^ t[0] for a, t in zip(acts, terms, strict=True))
    mantissas = packed((a.mantissa for a in acts), rule.activations.mantissa_bits)
    getattr(dut, f"sm{name}_mantissa_i").value = mantissas
    getattr(dut, f"sm{name}_negative_i").value = packed(signs, 1)
    getattr(dut, f"sm{name}_nonzero_i").value = packed(has, 1)
    getattr(dut, f"sm{name}_gap_i").value = packed(gaps, width)


class Accumulator:
    """One instance: its register, and what the specification says that it holds."""

    def __init__(self, dut: Dut, bits: int, sum_bits: int) -> None:
        self.bits, self.sum_bits = bits, sum_bits
        self.rule = Arithmetic(accumulator_bits=bits)
        names = ("wide_i", "wide_o", "normal_mantissa_o")
        self.wide_i, self.wide_o, self.normal = (getattr(dut, f"ga{bits}_{n}") for n in names)
        self.wide = self.exponent = 0
        self.partial = Partial()

    def step(self, first: bool, total: int, largest: int) -> None:
        """Add a step by the specification."""
        start = Partial() if first else self.partial
        self.partial = accumulate(start, total, largest, self.rule) if largest else start


def step_sum(rng: random.Random, bits: int, held: Partial) -> tuple[int, int, int]:
    """Return sum, exponent and significance of a step: any, a corner, or what cancels."""
    limit, significance = (1 << (bits - 1)) - 1, rng.randint(0, 6)
    power = 1 << rng.randrange(bits - 1)
    corners = [power, -power, power - 1, -power - 1, 1 - power, limit, -limit, -limit - 1, 0]
    total = rng.choice(corners) if rng.random() < 0.5 else rng.randint(-limit, limit)
    gap = rng.choice([rng.randint(-2, 2), rng.randint(-33, 33)])
    largest = min(max(held.exponent + gap, 1), 33)
    if rng.random() < 0.1:
        total, largest = -(held.mantissa >> significance) + rng.randint(-1, 1), held.exponent
    largest = largest if 1 <= largest <= 33 else 33
    total = min(max(total, -limit - 1), limit)
    return (0, 0, significance) if rng.random() < 0.1 else (total, largest, significance)


@cocotb.test()
async def group_accumulator(dut: Dut) -> None:
    """Groups of steps: the normalized accumulator after every one of them."""
    rng = generator("group_accumulator")
    every = [Accumulator(dut, 14, 17), Accumulator(dut, 22, 17), Accumulator(dut, 28, 9)]
    left = 0
    for _ in range(COUNT):
        first = left == 0
        left = rng.choice([1, 1, 1, 4, 30, 150]) if first else left - 1
        leader = rng.choice(every)
        total, largest, significance = step_sum(rng, leader.sum_bits, leader.partial)
        if (
            first and largest and rng.random() < 0.3
        ):  # what is normalized is a negative power of two
            total, significance = -(1 << rng.randint(8, 16)), rng.randint(0, 6)
        dut.ga17_sum_i.value = total & 0x1FFFF
        dut.ga9_sum_i.value = total & 0x1FF
        dut.ga_largest_i.value, dut.ga_significance_i.value = largest, significance
        dut.ga_first_i.value, dut.ga_normalize_i.value = int(first), 0
        show(dut, every)
        await settle()
        exponents = unpacked(value(dut.ga_exponent_o), 6, 3)
        for unit, exponent in zip(every, exponents, strict=True):
            if first or largest:
                unit.wide, unit.exponent = value(unit.wide_o), exponent
            own = signed(total & (1 << unit.sum_bits) - 1, unit.sum_bits)
            unit.step(first, own << significance, largest)
        await normalized(dut, every, rng)
    compared("group_accumulator", COUNT)


async def normalized(dut: Dut, every: list[Accumulator], rng: random.Random) -> None:
    """Compare the accumulators; meanwhile the next group may start."""
    show(dut, every)
    dut.ga_normalize_i.value, dut.ga_first_i.value = 1, rng.getrandbits(1)
    await settle()
    exponents = unpacked(value(dut.ga_normal_exponent_o), 6, 3)
    for unit, exponent in zip(every, exponents, strict=True):
        got = Partial(signed(value(unit.normal), unit.bits + 1), exponent)
        assert got == unit.partial, (unit.bits, got, unit.partial)


def show(dut: Dut, every: list[Accumulator]) -> None:
    """Show the units their registers."""
    for unit in every:
        unit.wide_i.value = unit.wide
    dut.ga_exponent_i.value = packed((unit.exponent for unit in every), 6)
