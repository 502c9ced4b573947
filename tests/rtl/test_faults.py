"""Faults of one line, written by hand: a drawn few are put in, and must be found.

``python -m tests.verification --part faults`` puts in all of them.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from hwsim.verilog.sources import sources
from quant.common.progress import say
from tests.rtl import axil_faults, tile_faults
from tests.rtl.faults import Fault, with_fault
from tests.rtl.machines import seed_of_run
from tests.rtl.test_axil import bench

pytestmark = pytest.mark.rtl
DRAWN = 4


def drawn(faults: tuple[Fault, ...]) -> list[Fault]:
    seed = seed_of_run()
    say(f"faults drawn by HWSIM_SEED={seed}")
    return random.Random(seed).sample(faults, DRAWN)


@pytest.mark.parametrize("fault", [*axil_faults.FAULTS, *tile_faults.FAULTS], ids=lambda f: f.name)
def test_every_fault_has_its_place(fault: Fault, tmp_path: Path) -> None:
    copies = [with_fault(file, fault, tmp_path) for file in sources()]
    assert [copy.name for copy in copies if copy.parent == tmp_path] == [fault.file]


@pytest.mark.slow
def test_faults_of_the_wiring_are_found(tmp_path: Path) -> None:
    for index, fault in enumerate(drawn(tile_faults.FAULTS)):
        say(f"{fault.file}: {fault.name} ...")
        folder = tmp_path / str(index)
        folder.mkdir()
        assert tile_faults.is_found(fault, folder), fault.name


@pytest.mark.slow
def test_faults_of_the_registers_are_found_by_the_quick_test(tmp_path: Path) -> None:
    for index, fault in enumerate(drawn(axil_faults.FAULTS)):
        say(f"{fault.file}: {fault.name} ...")
        folder = tmp_path / str(index)
        folder.mkdir()
        assert bench("few", 1, 6, folder, fault) > 0, fault.name
