"""Faults of one line, written by hand, in the tile's wiring and in its registers: all of them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from quant.common.progress import say
from tests.rtl import axil_faults, tile_faults
from tests.rtl.faults import Fault
from tests.rtl.test_axil import bench
from tests.verification.finding import Finding

PART = "Faults of one line in the RTL"
QUICK = 3
"""Of each kind in the quick sample."""


def run(scale: str) -> list[Finding]:
    """Return a line for the wiring and one for the registers."""
    count = QUICK if scale == "quick" else None
    wiring = [f for f in tile_faults.FAULTS[:count] if not _is_found(f, True)]
    registers = [f for f in axil_faults.FAULTS[:count] if not _is_found(f, False)]
    lines = (
        ("axis_tile, drain_sequencer, column_output: by the script that judges mutants",
         tile_faults.FAULTS[:count], wiring),
        ("axil_tile, axil_registers, run_control: by the quick test of the registers",
         axil_faults.FAULTS[:count], registers),
    )  # fmt: skip
    return [
        Finding(PART, what, len(faults), "faults", len(missed), "; ".join(f.name for f in missed))
        for what, faults, missed in lines
    ]


def _is_found(fault: Fault, wiring: bool) -> bool:
    say(f"{fault.file}: {fault.name} ...")
    with TemporaryDirectory() as folder:
        if wiring:
            return tile_faults.is_found(fault, Path(folder))
        return bench("few", 1, 6, Path(folder), fault) > 0
