"""All unit benches on the one build of ``units_top.sv``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tests.rtl.simulator import ARRAY, PACKAGES, PE, build, run

TOP = Path(__file__).parent / "units_top.sv"
SOURCES = [*PACKAGES, *PE, *ARRAY, TOP]
QUICK, FULL = 10_000, 100_000
BENCHES = {
    "tests.rtl.bench_decoders": ("weight_decoder", "activation_decoder"),
    "tests.rtl.bench_stages": ("exponent_match", "serial_multiply", "group_accumulator"),
    "tests.rtl.bench_floats": ("dequantizer", "float_rounder", "fp32_adder"),
    "tests.rtl.bench_control": ("step_sequencer", "ping_pong_buffer"),
}
"""Modules that each bench compares."""
MISUSE = {
    "packet_fits": "u_pp5.PacketFits",
    "valid_is_held": "u_pp1.ValidIsHeld",
    "pops_a_packet": "u_pp5.PopsAPacket",
    "format_is_served": "u_ss.FormatIsServed",
    "group_has_blocks": "u_ss.GroupHasBlocks",
    "loads_what_is_taken": "u_ds.LoadsWhatIsTaken",
    "takes_when_free": "u_ds.TakesWhenFree",
    "factor_is_finite": "u_ds.FactorIsFinite",
    "factor_is_positive": "u_ds.FactorIsPositive",
    "packets_agree": "u_tile.PacketsAgree",
    "format_is_taken": "u_tile.FormatIsTaken",
    "format_exists": "u_tile.u_step_sequencer.FormatIsServed",
    "known_scale": "u_tile.KnownScale",
    "can_correct": "u_tile.CanCorrect",
}
"""Tests of misuse, and the assertion that ends each of them."""
_COMPARED = re.compile(r"compared (\w+): (\d+)")


class Outcome(NamedTuple):
    """What the benches said: tests, failures, and vectors or clocks of each module."""

    tests: int
    failures: int
    compared: dict[str, int]


def build_units(folder: Path, sources: Sequence[Path] = SOURCES) -> None:
    """Build ``units_top.sv`` into a folder."""
    build("units_top", sources, folder)


def run_units(
    folder: Path, count: int, seed: int = 1, benches: Sequence[str] = tuple(BENCHES)
) -> Outcome:
    """Run benches on a build, with that many vectors or clocks of each module."""
    variables = {"UNITS_COUNT": str(count), "UNITS_SEED": str(seed)}
    tests, failures = run("units_top", ",".join(benches), folder, variables)
    found = _COMPARED.findall((folder / "bench.log").read_text(encoding="utf-8"))
    return Outcome(tests, failures, {name: int(number) for name, number in found})


def assertions_of(folder: Path, test: str) -> tuple[int, list[str]]:
    """Run one test of misuse; return failures and the assertions that fired, without the top."""
    chosen = {"COCOTB_TEST_FILTER": rf"\.{test}$"}
    failures = run("units_top", "tests.rtl.bench_misuse", folder, chosen)[1]
    log = (folder / "bench.log").read_text(encoding="utf-8")
    names = re.findall(r"Assertion failed in units_top\.(\S+?): ", log)
    return failures, [name.removeprefix("gen_ss[0].") for name in names]
