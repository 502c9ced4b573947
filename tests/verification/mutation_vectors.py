"""Stimulus for mutants of combinational RTL and of the PE, with results by the specification.

A case is what stands at the inputs in a clock, and what the outputs show before its edge; outputs
that are not named are not compared. Sequential modules start from the first case.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import softfloatpy

from hwsim.pe import reference
from hwsim.pe.activations import ACTIVATIONS
from hwsim.pe.arithmetic import MAX_STEPS, Arithmetic
from hwsim.pe.terms import term_table
from hwsim.tile.side_band import FORMAT_BITS, rtl_formats
from tests.verification.mutation_arrays import buffer, drain, sequencer

Case = tuple[dict[str, int], dict[str, int]]


@dataclass(frozen=True)
class Design:
    """A module to mutate: ports with their widths, parameters, how many mutants, its cases."""

    name: str
    top: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    cases: Callable[[], Iterator[Case]]
    mutants: int
    parameters: tuple[str, ...] = ()
    clocked: bool = False


def decoder() -> Iterator[Case]:
    """Every code of every format in every step, and formats that do not exist."""
    rng, numbers = random.Random(1), rtl_formats()
    for name, number in numbers.items():
        table = term_table(name, 5)
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


def dequantizer() -> Iterator[Case]:
    """Numbers digit by digit, most significant first, with gaps."""
    rng = random.Random(2)
    product: int | None = None
    for _ in range(150):
        operand, number = rng.randrange(-(1 << 11), 1 << 11), rng.randrange(256)
        for place in (3, 2, 1, 0):
            while True:
                enable = rng.random() < 0.7
                given = {"enable_i": int(enable), "start_i": int(place == 3)}
                given |= {"digit_i": number >> 2 * place & 3, "operand_i": operand & 0xFFF}
                yield given, {} if product is None else {"product_o": product & 0xFFFFF}
                if enable:
                    product = operand * (number >> 2 * place)
                    break


def rounder() -> Iterator[Case]:
    """Values of any length and exponent, ties and their neighbours, ends of both formats."""
    rng = random.Random(3)
    for index in range(12000):
        fp16 = index % 2
        form = reference.FP16 if fp16 else reference.FP32
        length = rng.randrange(1, 48)
        value = rng.getrandbits(length) | 1 << (length - 1)
        if rng.random() < 0.5:  # few bits: exact numbers, ties
            keep = max(0, length - form.precision - rng.randrange(3))
            value = min((value >> keep << keep) + rng.choice([-1, 0, 0, 1]), 2**47 - 1)
        if rng.random() < 0.3:  # the leading one, the half, and one bit far below
            value = 1 << (length - 1) | 1 << rng.randrange(length) | 1 << rng.randrange(length)
        top = rng.choice([form.overflow, form.least, form.least + form.precision, 0])
        exponent = top - length + rng.randrange(-4, 4)
        if rng.random() < 0.1:
            exponent = rng.randrange(-2048, 2048)
        if rng.random() < 0.1:  # all ones: a carry through the whole mantissa
            value = (1 << length) - 1
        if rng.random() < 0.4:  # few bits are kept: a half, and one bit below decides
            length, kept = rng.randrange(30, 48), rng.choice([form.precision, rng.randrange(12)])
            value = 1 << (length - 1) | 1 << (length - 1 - kept)
            value |= 1 << (length - 1 - rng.randrange(kept, length)) if rng.random() < 0.8 else 0
            exponent = form.least + kept - length
            if rng.random() < 0.2:  # as small as nothing, but for one bit of the exponent
                exponent -= rng.choice([32, 64, 128, 256, 512, 1024])
        exponent = max(-2048, min(2047, exponent))
        value = 0 if index < 4 else (-value if rng.random() < 0.5 else value)
        number = reference.rounded(Fraction(value) * Fraction(2) ** exponent, form)
        bits = int(
            np.float16(number).view(np.uint16) if fp16 else np.float32(number).view(np.uint32)
        )
        given = {"value_i": value & (2**48 - 1), "exponent_i": exponent & 0xFFF, "fp16_i": fp16}
        yield given, {"float_o": bits}


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


def element() -> Iterator[Case]:
    """The PE clock by clock: random control that the tile could give, by ``hwsim.pe.reference``."""
    rng, rule = random.Random(5), Arithmetic()
    step: tuple[int, int] | None = None
    partial: reference.Partial | None = None
    chain: reference.Partial | None = None
    center = 15
    for clock in range(6000):
        if rng.random() < 0.05:
            center = rng.randrange(1, 31)
        given, result = _operands(rng, center, rng.choice([0, 1, 2, 4, 12, 30]), rule)
        first = clock == 1 or rng.random() < 0.12
        accumulate = clock > 0 and (first or rng.random() < 0.85)
        significance = rng.randrange(7)
        # Now and then equal powers of two: their sums reach the least number of the width.
        since = clock % 16
        if since < 4:
            given, result = _powers(rng, center, rule)
        if 1 <= since <= 4:
            first, accumulate, significance = since == 1, True, 6
        load = (first or not accumulate) and rng.random() < 0.6
        shift = rng.random() < 0.5
        incoming = reference.Partial(rng.randrange(-(1 << 22), 1 << 22), rng.randrange(64))
        given |= {
            "accumulate_i": int(accumulate), "first_i": int(first), "load_i": int(load),
            "significance_i": significance, "shift_i": int(shift),
            "chain_mantissa_i": incoming.mantissa & (2**23 - 1),
            "chain_exponent_i": incoming.exponent,
        }  # fmt: skip
        wanted = {}
        if chain is not None:
            wanted = {"chain_mantissa_o": chain.mantissa & (2**23 - 1)}
            wanted["chain_exponent_o"] = chain.exponent
        yield given, wanted
        chain = partial if load else incoming if shift else chain
        if accumulate:
            partial = reference.Partial() if first else partial
            if step is not None and partial is not None:
                partial = reference.accumulate(partial, step[0] << significance, step[1], rule)
        step = result


def _operands(
    rng: random.Random, center: int, spread: int, rule: Arithmetic
) -> tuple[dict[str, int], tuple[int, int] | None]:
    """Lanes' operands as ports, and what stages 1 and 2 make of them."""
    lanes: list[reference.Activation] = []
    terms: list[tuple[int, int, int]] = []
    dense = rng.random() < 0.9
    for _ in range(rule.lanes):
        exponent = max(1, min(30, center + rng.randrange(-spread, spread + 1)))
        mantissa = rng.choice([0, 1, 1024, 2047, rng.randrange(2048), rng.randrange(2048)])
        lanes.append(reference.Activation(rng.getrandbits(1), exponent, mantissa))
        man = int(rng.random() < (0.8 if dense else 0.1))
        terms.append((rng.getrandbits(1), man, rng.randrange(4)))
    return _ports(lanes, terms), reference.multiply(lanes, terms, rule)


def _powers(
    rng: random.Random, center: int, rule: Arithmetic
) -> tuple[dict[str, int], tuple[int, int] | None]:
    """Lanes of the same power of two, seldom one place off; negative in half of the cases."""
    power = 1024 >> (rng.random() < 0.1)
    lanes = [reference.Activation(0, center, power)] * rule.lanes
    terms = [(int(center % 2), 1, 1)] * rule.lanes
    return _ports(lanes, terms), reference.multiply(lanes, terms, rule)


def _ports(lanes: list[reference.Activation], terms: list[tuple[int, int, int]]) -> dict[str, int]:
    return {
        "act_sign_i": _packed([a.sign for a in lanes], 1),
        "act_exponent_i": _packed([a.exponent for a in lanes], 5),
        "act_mantissa_i": _packed([a.mantissa for a in lanes], 11),
        "act_nonzero_i": _packed([int(a.mantissa > 0) for a in lanes], 1),
        "term_sign_i": _packed([t[0] for t in terms], 1),
        "term_man_i": _packed([t[1] for t in terms], 1),
        "term_exponent_i": _packed([t[2] for t in terms], 2),
    }


def _packed(values: list[int], bits: int) -> int:
    return sum(value << bits * index for index, value in enumerate(values))


def _word(name: str, exponent: int, mantissa: int) -> tuple[dict[str, int], dict[str, int]]:
    outputs = {"sign_o": 1, "exponent_o": exponent, "mantissa_o": mantissa}
    return {"word_i": ACTIVATIONS[name].bits}, outputs | {"nonzero_o": 1, "nonfinite_o": 1}


DESIGNS = (
    Design("weight_decoder", "weight_decoder",
           {"format_i": 6, "selector_i": 2, "code_i": 8, "step_i": 2}, {"term_o": 7, "man_o": 4},
           decoder, 60, ("ExponentBits=5",)),
    Design("activation_decoder, FP16", "activation_decoder", *_word("fp16", 5, 11),
           lambda: activations("fp16"), 25, ("Activation=pe_pkg::ActFp16",)),
    Design("activation_decoder, E4M3", "activation_decoder", *_word("fp8-e4m3", 4, 4),
           lambda: activations("fp8-e4m3"), 15, ("Activation=pe_pkg::ActFp8E4m3",)),
    Design("dequantizer", "dequantizer",
           {"enable_i": 1, "start_i": 1, "digit_i": 2, "operand_i": 12}, {"product_o": 20},
           dequantizer, 30, ("OperandBits=12", "ScaleBits=8", "DigitBits=2"), clocked=True),
    Design("float_rounder", "float_rounder", {"value_i": 48, "exponent_i": 12, "fp16_i": 1},
           {"float_o": 32}, rounder, 80),
    Design("fp32_adder", "fp32_adder", {"a_i": 32, "b_i": 32}, {"sum_o": 32}, adder, 80),
    Design("bit_serial_pe", "bit_serial_pe",
           {"act_sign_i": 4, "act_exponent_i": 20, "act_mantissa_i": 44, "act_nonzero_i": 4,
            "term_sign_i": 4, "term_man_i": 4, "term_exponent_i": 8, "accumulate_i": 1,
            "first_i": 1, "significance_i": 3, "load_i": 1, "shift_i": 1, "chain_mantissa_i": 23,
            "chain_exponent_i": 6}, {"chain_mantissa_o": 23, "chain_exponent_o": 6},
           element, 150, clocked=True),
    Design("ping_pong_buffer", "ping_pong_buffer",
           {"rst_ni": 1, "valid_i": 1, "data_i": 4, "user_i": 2, "last_i": 1, "address_i": 2,
            "pop_i": 1},
           {"ready_o": 1, "valid_o": 1, "count_o": 2, "user_o": 2, "first_o": 4, "second_o": 4,
            "data_o": 4}, buffer, 40, ("Width=4", "UserWidth=2", "Depth=3"), clocked=True),
    Design("step_sequencer", "step_sequencer",
           {"rst_ni": 1, "valid_i": 1, "blocks_i": 4, "steps_i": 3, "needed_i": 4,
            "drain_busy_i": 1},
           {"issue_o": 1, "block_o": 3, "step_o": 2, "first_o": 1, "last_o": 1}, sequencer, 40,
           ("BlockBits=3", "CountBits=4", "SkipZeroSteps=1"), clocked=True),
    Design("drain_sequencer", "drain_sequencer",
           {"rst_ni": 1, "take_i": 1, "load_i": 1, "scale_kind_i": 2, "corrects_i": 1, "final_i": 1,
            "scale_i": 24, "correction_i": 48, "factor_i": 96, "out_ready_i": 1},
           {"busy_o": 1, "enable_o": 1, "multiply_o": 1, "start_o": 1, "end_o": 1, "digit_o": 2,
            "is_correction_o": 1, "is_factor_o": 1, "negate_o": 1, "exponent_o": 10,
            "row_end_o": 1, "out_valid_o": 1, "out_last_o": 1}, drain, 80,
           ("Rows=3", "DigitBits=2"), clocked=True),
)  # fmt: skip
