"""The parts of the synthesis flow: what is read of a Liberty file, of a report, of tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.verilog.synth.designs import load
from hwsim.verilog.synth.flow import Result, middle
from hwsim.verilog.synth.liberty import NAND2, driver, read
from hwsim.verilog.synth.timing import Arrival, Timing, parse
from hwsim.verilog.synth.worker import shuffle
from hwsim.verilog.synth.yosys import Area
from tests.rtl.synth_cases import (
    AREAS,
    designs,
    write_liberty,
)

pytestmark = pytest.mark.rtl
REPORT = """
Startpoint: a_q[1]$_DFFE_PP_ (rising edge-triggered flip-flop clocked by clock)
Endpoint: acc_q[11]$_SDFFE_PN0P_
          (rising edge-triggered flip-flop clocked by clock)
   0.0002    2.7678 ^ acc_q[11]$_SDFFE_PN0P_/D (sg13g2_dfrbp_1)
             2.7678   data arrival time
"""


@pytest.fixture
def liberty(tmp_path: Path) -> Path:
    return write_liberty(tmp_path)


def test_tries_give_the_middle_one(tmp_path: Path) -> None:
    design = load(designs(tmp_path))[0]
    sizes = (30.0, 10.0, 20.0)
    tries = [
        Result(design, None, Area(1, 0, size, 0.0, None, True, {}), Timing(None, None, ""), "")
        for size in sizes
    ]
    found = middle(tries)
    assert (found.size, found.sizes, found.spread) == (20.0, (10.0, 20.0, 30.0), 100.0)


def test_shuffled_cells_are_the_same_netlist() -> None:
    cells = [f"  cell $_NOT_ $c{i}\n    connect \\A \\a\n  end\n" for i in range(9)]
    text = f"module \\m\n  wire \\a\n{''.join(cells)}end\n"
    other = shuffle(text, 1)
    assert other != text
    assert sorted(other.splitlines()) == sorted(text.splitlines())
    assert other == shuffle(text, 1)


def test_the_latest_path_is_found_by_its_signals() -> None:
    reset = "Startpoint: rst_ni (x)\nEndpoint: y (x)\n   9.1   data arrival time\n"
    assert parse(REPORT) == Arrival(2.7678, "a_q[1]", "acc_q[11]")
    assert parse(REPORT + reset) == Arrival(9.1, "rst_ni", "y")
    assert parse("No paths found.") is None


def test_driver_and_nand2_are_found_by_name(tmp_path: Path, liberty: Path) -> None:
    found = read(liberty, tmp_path)
    assert {name: cell.area_um2 for name, cell in found.cells.items()} == AREAS
    assert [name for name, cell in found.cells.items() if cell.is_register] == ["DFF"]
    assert (found.nand2_um2, found.driver) == (2.0, "BUF_X4")
    assert driver(["sky130_fd_sc_hd__clkbuf_4", "sky130_fd_sc_hd__buf_2"]) == (
        "sky130_fd_sc_hd__buf_2"
    )
    assert driver(["sg13g2_buf_16", "sg13g2_buf_1", "sg13g2_ebufn_4"]) == "sg13g2_buf_1"
    assert driver(["BUFx4_ASAP7_75t_R"]) == "BUFx4_ASAP7_75t_R"
    assert driver(["INV_X1", "BUFZ_X4", "CLKBUF_X4", "s__bufinv_8"]) is None


@pytest.mark.parametrize(
    ("name", "is_nand2"),
    [
        ("sg13g2_nand2_1", True),
        ("NAND2x1_ASAP7_75t_R", True),
        ("NAND2X1", True),
        ("ND2D1BWP", True),
        ("nand2", True),
        ("NAND2_X12", False),
        ("sg13g2_nand2b_1", False),
        ("NAND2xp33_ASAP7_75t_R", False),
        ("NAND2_X2", False),
    ],
)
def test_nand2_of_drive_one(name: str, is_nand2: bool) -> None:
    assert bool(NAND2.search(name)) is is_nand2
