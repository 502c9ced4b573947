"""What is mutated: every module of ``rtl/pe`` and ``rtl/array`` that has logic of its own."""

from __future__ import annotations

from typing import NamedTuple

from tests.rtl.designs import DESIGNS
from tests.rtl.machines import JUDGE
from tests.rtl.vectors import Design
from tests.verification.mutants import Target


def _design(name: str) -> Design:
    return next(design for design in DESIGNS if design.name == name)


def _of_one(name: str, count: int) -> Target:
    """A design that is one module."""
    design = _design(name)
    return Target(name, design, {design.top: count})


TARGETS = (
    Target("weight_decoder", _design("weight_decoder"), {"weight_decoder": 40, "term_table": 40}),
    _of_one("activation_decoder, fp16", 25),
    _of_one("activation_decoder, fp8-e4m3", 15),
    _of_one("activation_decoder, int8", 10),
    _of_one("dequantizer", 30),
    _of_one("float_rounder", 80),
    _of_one("fp32_adder", 80),
    Target(
        "bit_serial_pe",
        _design("bit_serial_pe"),
        {"bit_serial_pe": 40, "exponent_match": 80, "serial_multiply": 80, "group_accumulator": 90},
    ),
    _of_one("ping_pong_buffer", 40),
    _of_one("step_sequencer", 40),
    _of_one("drain_sequencer", 80),
    Target(
        "tile",
        JUDGE,
        {"tile": 60, "weight_terms": 40, "drain": 40, "pe_column": 30, "column_output": 80},
    ),
)


class Unseen(NamedTuple):
    """Faults that no run can show: the target, parts of what Yosys did, and why.

    ``source``: what stands in the line of the Verilog that they are of.
    """

    target: str
    parts: tuple[str, ...]
    why: str
    source: str = ""


UNSEEN = (
    Unseen(
        "tile", ("-mode inv", "-port Q", "column_output.sv", "value_q"),
        "the register holds for two clocks and is inverted twice; AddendsStand fails on the RTL",
    ),
    Unseen(
        "tile", ("-mode inv", "-port Q", "column_output.sv", "add_clear_q"),
        "the register holds for two clocks and is inverted twice; AddendsStand fails on the RTL",
    ),
    Unseen(
        "tile", ("-mode inv", "-port Q", "column_output.sv", "add_row_end_q"),
        "the register holds for two clocks and is inverted twice",
    ),
    Unseen(
        "tile", ("pe_column.sv",),
        "the chain shifts while factors are multiplied, when it is empty",
        "assign shift = ",
    ),
    Unseen(
        "tile", ("factor_i", "-portbit 31"),
        "a factor has no sign (FactorIsPositive)",
    ),
    Unseen(
        "bit_serial_pe", ("-mode const1", "bit_serial_pe.sv"),
        "a step without a product is written: it adds zero and only normalizes earlier",
        "assign write = ",
    ),
)  # fmt: skip
