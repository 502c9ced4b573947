"""The tile with registers: a bus model runs layers on it, the watch compares every clock."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hwsim.verilog.compiled import parameters
from quant.common.progress import say
from tests.rtl.axil_faults import FAULTS, Fault
from tests.rtl.axil_layers import MACHINES
from tests.rtl.simulator import ARRAY, PACKAGES, PE, build, run

BENCHES = "tests.rtl.bench_axil_registers,tests.rtl.bench_axil_runs"
TESTS = 9
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


def with_fault(file: Path, fault: Fault | None, folder: Path) -> Path:
    """The file, or a copy with the fault that is in it."""
    if fault is None or file.name != fault.file:
        return file
    text = file.read_text(encoding="utf-8")
    assert text.count(fault.old) == 1, fault.name
    copy = folder / file.name
    copy.write_text(text.replace(fault.old, fault.new), encoding="utf-8")
    return copy


@pytest.mark.parametrize("name", MACHINES)
def test_runs_are_started_by_registers(name: str, tmp_path: Path) -> None:
    assert bench(name, 1, 6, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2, 5))
@pytest.mark.parametrize("name", MACHINES)
def test_many_runs_are_started_by_registers(name: str, seed: int, tmp_path: Path) -> None:
    assert bench(name, seed, 60, tmp_path) == 0


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_found_by_the_quick_test(fault: Fault, tmp_path: Path) -> None:
    say(f"{fault.file}: {fault.name} ...")
    assert bench("few", 1, 6, tmp_path, fault) > 0
