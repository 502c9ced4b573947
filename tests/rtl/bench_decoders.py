"""Both decoders, exhaustively, against ``hwsim.pe``."""

from __future__ import annotations

from itertools import product

import cocotb

from hwsim.pe.activations import ACTIVATIONS, ActivationFormat
from hwsim.pe.reference import decode
from hwsim.pe.terms import TermTable, term_table
from hwsim.tile.side_band import FORMAT_BITS, rtl_formats
from quant.common.errors import RequestError
from tests.rtl.bench import COUNT, Dut, compared, generator, settle, unpacked, value

FEW = ("int4", "fp4")
"""Formats of the third decoder."""


def tables(number: int) -> list[TermTable | None]:
    """Return a format's table in each of the three decoders; None where it has no terms."""
    name = next((name for name, own in rtl_formats().items() if own == number), None)
    if name is None:
        return [None, None, None]
    found: list[TermTable | None] = []
    for width in (2, 5):
        try:
            found.append(term_table(name, width))
        except RequestError:
            found.append(None)
    return [*found, found[0] if name in FEW else None]


def term(table: TermTable | None, selector: int, code: int, step: int) -> int:
    """Return what a decoder gives: sign, man and exponent in one number."""
    if table is None or step >= table.steps:
        return 0
    at = (selector, code % table.man.shape[1], step)
    return int(table.sign[at]) << 6 | int(table.man[at]) << 5 | int(table.exp[at])


def steps_with_terms(table: TermTable | None, selector: int, code: int) -> int:
    """Return a bit a step."""
    return sum((term(table, selector, code, step) >> 5 & 1) << step for step in range(4))


@cocotb.test()
async def weight_decoder(dut: Dut) -> None:
    """Every number of a format, selector, code (with any bits above it) and step."""
    checked = 0
    while checked < COUNT:
        for number in range(1 << FORMAT_BITS):
            of = tables(number)
            selectors = max(table.man.shape[0] if table else 1 for table in of)
            dut.wd_format_i.value = number
            for selector, code in product(range(selectors), range(256)):
                dut.wd_selector_i.value, dut.wd_code_i.value = selector, code
                has = [steps_with_terms(table, selector, code) for table in of]
                for step in range(4):
                    dut.wd_step_i.value = step
                    await settle()
                    terms = [term(table, selector, code, step) for table in of]
                    at = (number, selector, code, step)
                    assert unpacked(value(dut.wd_term_o), 7, 3) == terms, at
                    assert unpacked(value(dut.wd_man_o), 4, 3) == has, at
                    checked += 1
    compared("weight_decoder", checked)


PORTS = {"fp16": "fp16", "bf16": "bf16", "fp8-e4m3": "e4m3", "fp8-e5m2": "e5m2", "int8": "int8"}
Decoded = tuple[int, int]
"""What a decoder gives, and which of its bits count."""


def decoded(word: int, form: ActivationFormat) -> Decoded:
    """Nonfinite, nonzero, sign, exponent and mantissa; no exponent where it is not finite."""
    width, whole = form.mantissa_bits, form.exponent_bits + form.mantissa_bits
    sign = word >> (form.bits - 1)
    try:
        parts = decode(word, form)
    except ValueError:
        top = (1 << 2 | sign) << whole
        return top, 7 << whole | (1 << width) - 1
    assert parts.sign == sign
    top = (int(parts.mantissa > 0) << 1 | sign) << whole
    return top | parts.exponent << width | parts.mantissa, (1 << (whole + 3)) - 1


@cocotb.test()
async def activation_decoder(dut: Dut) -> None:
    """Every word of every format, in an order of chance."""
    rng = generator("activation_decoder")
    forms = [(getattr(dut, f"ad_{PORTS[name]}_o"), form) for name, form in ACTIVATIONS.items()]
    wanted = [[decoded(word, form) for word in range(1 << form.bits)] for _, form in forms]
    checked = 0
    while checked < COUNT:
        for word in rng.sample(range(1 << 16), 1 << 16):
            dut.ad_word_i.value = word
            await settle()
            for (port, form), every in zip(forms, wanted, strict=True):
                result, mask = every[word % (1 << form.bits)]
                assert value(port) & mask == result, (form.name, hex(word))
            checked += 1
    compared("activation_decoder", checked)
