"""The PE on a second simulator: Icarus on what Yosys elaborates; Verilator on equal vectors."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hwsim.pe.arithmetic import Arithmetic
from tests.rtl.pe_simulators import FULL, QUICK, RULES, SIMULATORS, play
from tests.rtl.pe_vectors import write_vectors
from tests.verification.finding import Finding

COUNTS = {"quick": QUICK, "full": FULL}
SEED = 4
MARGIN = 100
"""Clocks before the chain's register is known are not compared."""


def run(scale: str) -> list[Finding]:
    """Play random groups to both accumulator widths on both simulators.

    Args:
        scale: ``quick`` or ``full``.
    """
    found = []
    with tempfile.TemporaryDirectory() as name:
        for width, rule in RULES.items():
            folder = Path(name) / width
            folder.mkdir()
            write_vectors(folder / "vectors", rule, COUNTS[scale] + MARGIN, SEED)
            found += [compared(simulator, width, rule, folder) for simulator in SIMULATORS]
    return found


def compared(simulator: str, width: str, rule: Arithmetic, folder: Path) -> Finding:
    """Return the line of one simulator and width."""
    program = SIMULATORS[simulator](folder / simulator, rule)
    checked, mismatches, _ = play(program, folder / "vectors")
    what = f"bit_serial_pe on {simulator}, {width} accumulator ({rule.accumulator_bits} bits)"
    note = f"seed {SEED}; the chain's register after every edge"
    return Finding("second simulator", what, checked, "clocks", mismatches, note)
