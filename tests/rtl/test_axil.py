"""The tile with registers: a bus model runs layers on it, the watch compares every clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwsim.verilog.compiled import parameters
from quant.common.progress import say
from tests.rtl.axil_layers import MACHINES
from tests.rtl.faults import Fault, with_fault
from tests.rtl.simulator import ARRAY, PACKAGES, PE, build, run

BENCHES = ",".join(f"tests.rtl.bench_axil_{part}" for part in ("registers", "runs", "corners"))
TESTS = 14
pytestmark = pytest.mark.rtl


def bench(name: str, seed: int, runs: int, folder: Path, fault: Fault | None = None) -> int:
    """Build a machine, run all tests of the bench on it, and return how many failed."""
    machine = MACHINES[name]
    settings = parameters(machine.tile, machine.formats)
    settings.pop("MaxBeats", None)  # of the bench that compiled layers run in
    settings["HasCorrection"] = int(machine.has_correction)
    say(f"building axil_tile as {name} ...")
    sources = [with_fault(file, fault, folder) for file in (*PACKAGES, *PE, *ARRAY)]
    build("axil_tile", sources, folder / "build", settings, ["-Wno-fatal"] if fault else [])
    say(f"registers, refusals, {runs} layers, resets: every clock beside the model ...")
    chosen = {"machine": name, "seed": seed, "runs": runs}
    environment = {"AXIL_BENCH": json.dumps(chosen)}
    ran, failed = run("axil_tile", BENCHES, folder / "build", environment)
    log = (folder / "build/bench.log").read_text(encoding="utf-8")
    for line in log.splitlines():
        if "all as the model says" in line:
            say(" ".join(line.split()[3:]))
    assert ran == TESTS or failed, log[-3000:]
    return failed


@pytest.mark.parametrize("name", MACHINES)
def test_runs_are_started_by_registers(name: str, tmp_path: Path) -> None:
    assert bench(name, 1, 6, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("name", MACHINES)
def test_many_runs_are_started_by_registers(name: str, tmp_path: Path) -> None:
    assert bench(name, 2, 60, tmp_path) == 0
