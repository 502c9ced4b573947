"""Netlists are proved equal to the RTL that they were made of; one that is not is noticed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.verilog.synth.designs import Design, load
from hwsim.verilog.synth.liberty import read
from hwsim.verilog.synth.proof import EVERY_STATE, FROM_ZEROS, prove
from hwsim.verilog.synth.yosys import RTLIL, ToolError, synthesise
from quant.common.progress import say
from tests.rtl.synth_cases import designs, results, write_liberty

pytestmark = pytest.mark.rtl
DESIGNS = {design.name: design for design in load()}
MINUTES = {name for name, design in DESIGNS.items() if design.group == "column"}
"""Whole columns: ``python -m tests.verification --part netlists`` proves these, too."""


def proved(design: Design, folder: Path) -> str:
    say(f"synthesising and proving {design.name} ...")
    synthesise(design, None, 10_000, (), 0, folder)
    return prove(design, None, folder)


@pytest.mark.parametrize("name", ["dequantizer-15x8", "activation-decoder", "pe-14"])
def test_a_netlist_equals_its_rtl(name: str, tmp_path: Path) -> None:
    assert proved(DESIGNS[name], tmp_path) == EVERY_STATE


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(DESIGNS) - MINUTES))
def test_every_netlist_equals_its_rtl(name: str, tmp_path: Path) -> None:
    assert proved(DESIGNS[name], tmp_path) in (EVERY_STATE, FROM_ZEROS)


def test_one_wrong_gate_is_noticed(tmp_path: Path) -> None:
    design = DESIGNS["dequantizer-15x8"]
    proved(design, tmp_path)
    netlist = tmp_path / RTLIL
    text = netlist.read_text(encoding="utf-8")
    netlist.write_text(text.replace("cell $_NAND_", "cell $_NOR_", 1), encoding="utf-8")
    with pytest.raises(ToolError, match="dequantizer-15x8 is not proved equal"):
        prove(design, None, tmp_path)


def test_the_cells_of_a_library_count_by_their_functions(tmp_path: Path) -> None:
    library = read(write_liberty(tmp_path), tmp_path)
    design = load(designs(tmp_path))[0]
    folder = tmp_path / "run"
    folder.mkdir()
    synthesise(design, library, 10_000, (), 0, folder)
    assert prove(design, library, folder) == EVERY_STATE


def test_the_command_says_what_is_proved() -> None:
    assert results("--design", "activation-decoder", "--prove")[0]["proof"] == EVERY_STATE
    assert results("--design", "activation-decoder")[0]["proof"] is None
