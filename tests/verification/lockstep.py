"""The tile in lock-step with its model in every configuration, random stalls on all streams."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from tests.rtl.simulator import ARRAY, PACKAGES, PE, build
from tests.rtl.simulator import run as simulate
from tests.rtl.test_tile import CONFIGURATIONS, LONG, QUICK, parameters
from tests.verification.finding import Finding

PART = "Lock-step of the tile (Verilator, cocotb)"


def run(scale: str = "full") -> list[Finding]:
    """Every configuration, each for at least 10^5 clocks (``quick``: 4,000)."""
    count = LONG if scale == "full" else QUICK
    findings = []
    for name, settings in CONFIGURATIONS.items():
        with tempfile.TemporaryDirectory() as folder:
            build("tile", [*PACKAGES, *PE, *ARRAY], Path(folder), parameters(settings["tile"]))
            bench = json.dumps({**settings, "first_seed": 0, "clocks": count})
            tests, failures = simulate(
                "tile", "tests.rtl.bench_tile", Path(folder), {"TILE_BENCH": bench}
            )
        note = ", ".join(f"{key} {value}" for key, value in settings["tile"].items())
        differ = failures or int(tests != 1)
        findings.append(Finding(PART, name, count, "clocks at least", differ, note))
    return findings
