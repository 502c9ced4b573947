"""The synthesis flow: areas add up, the same twice, and bad requests are one line of words."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hwsim.verilog.sources import RTL
from hwsim.verilog.synth.designs import load
from hwsim.verilog.synth.flow import Result, middle
from hwsim.verilog.synth.liberty import NAND2, driver, read
from hwsim.verilog.synth.timing import Arrival, Timing, parse
from hwsim.verilog.synth.worker import shuffle
from hwsim.verilog.synth.yosys import Area

pytestmark = pytest.mark.rtl
AREAS = {"INV_X1": 1.0, "BUF_X1": 1.5, "BUF_X4": 3.0, "NAND2_X1": 2.0, "NOR2_X1": 2.25, "DFF": 9.0}
GATE = """
  cell ({name}) {{
    area : {area};
    {pins}
    pin (Z) {{ direction : output; function : "{function}"; max_capacitance : 100; {arcs} }}
  }}"""
# 1 ns through every gate, 2 ns through the flip-flop, whatever the load.
ARC = """timing () {{ related_pin : "{pin}"; {kind}
      cell_rise (t) {{ values ("{ns}, {ns}", "{ns}, {ns}"); }}
      cell_fall (t) {{ values ("{ns}, {ns}", "{ns}, {ns}"); }}
      rise_transition (t) {{ values ("0.1, 0.1", "0.1, 0.1"); }}
      fall_transition (t) {{ values ("0.1, 0.1", "0.1, 0.1"); }} }}"""
SETUP = """timing () { related_pin : "CK"; timing_type : setup_rising;
      rise_constraint (s) { values ("0.1, 0.1", "0.1, 0.1"); }
      fall_constraint (s) { values ("0.1, 0.1", "0.1, 0.1"); } }"""
HEAD = """/* cell (NOT_A_CELL) { area : 7; } */
library (tiny) {
  time_unit : "1ns"; capacitive_load_unit (1, ff); delay_model : table_lookup;
  voltage_unit : "1V"; current_unit : "1mA"; pulling_resistance_unit : "1kohm";
  leakage_power_unit : "1nW"; nom_voltage : 1.0; nom_temperature : 25; nom_process : 1;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  slew_lower_threshold_pct_rise : 20; slew_lower_threshold_pct_fall : 20;
  slew_upper_threshold_pct_rise : 80; slew_upper_threshold_pct_fall : 80;
  lu_table_template (t) { variable_1 : input_net_transition;
    variable_2 : total_output_net_capacitance; index_1 ("0, 1"); index_2 ("0, 100"); }
  lu_table_template (s) { variable_1 : related_pin_transition;
    variable_2 : constrained_pin_transition; index_1 ("0, 1"); index_2 ("0, 1"); }
"""
INPUT = "pin ({name}) {{ direction : input; capacitance : 1.0; }} "
FLOP = """
  cell ("DFF") {
    area : 9.0;
    ff ("IQ", "IQN") { next_state : "D"; clocked_on : "CK"; }
    pin (D) { direction : input; capacitance : 1.0; SETUP }
    pin (CK) { direction : input; capacitance : 1.0; clock : true; }
    pin (Q) { direction : output; function : "IQ"; max_capacitance : 100; ARCS }
  }"""
COUNTER = """
module counter #(parameter int unsigned Width = 4) (
  input logic clk_i, input logic rst_ni, output logic [Width-1:0] count_o
);
  always_ff @(posedge clk_i) count_o <= rst_ni ? count_o + 1 : '0;
endmodule
"""
DESIGN = """
[[design]]
name = "counter"
top = "counter"
sources = ["{source}"]
parameters = {{ {parameters} }}
note = "Counts."
group = "small"
"""
REPORT = """
Startpoint: a_q[1]$_DFFE_PP_ (rising edge-triggered flip-flop clocked by clock)
Endpoint: acc_q[11]$_SDFFE_PN0P_
          (rising edge-triggered flip-flop clocked by clock)
   0.0002    2.7678 ^ acc_q[11]$_SDFFE_PN0P_/D (sg13g2_dfrbp_1)
             2.7678   data arrival time
"""


def run(*arguments: str | Path, code: str = "") -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "hwsim.verilog.synth"]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)],
        cwd=RTL.parent,
        capture_output=True,
        text=True,
        check=False,
    )


def results(*arguments: str | Path) -> list[dict[str, Any]]:
    done = run(*arguments, "--format", "json")
    assert done.returncode == 0, done.stderr
    data = json.loads(done.stdout)
    assert data["schema"] == "rtl-synth/1"
    return list(data["results"])


def refusal(*arguments: str | Path, code: str = "") -> str:
    """Return the one line of a refused request."""
    done = run(*arguments, code=code)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def library(has_delays: bool) -> str:
    def arc(pin: str, ns: float, kind: str) -> str:
        return ARC.format(pin=pin, ns=ns, kind=kind) if has_delays else ""

    def gate(name: str, inputs: str, function: str) -> str:
        pins = "".join(INPUT.format(name=pin) for pin in inputs)
        sense = "positive" if function == "A" else "negative"
        arcs = "".join(arc(pin, 1.0, f"timing_sense : {sense}_unate;") for pin in inputs)
        return GATE.format(name=name, area=AREAS[name], pins=pins, function=function, arcs=arcs)

    flop = FLOP.replace("SETUP", SETUP if has_delays else "")
    cells = [
        gate("INV_X1", "A", "!A"),
        gate("BUF_X1", "A", "A"),
        gate("BUF_X4", "A", "A"),
        gate("NAND2_X1", "AB", "!(A&B)"),
        gate("NOR2_X1", "AB", "!(A|B)"),
        flop.replace("ARCS", arc("CK", 2.0, "timing_type : rising_edge;")),
    ]
    return f"{HEAD}{''.join(cells)}\n}}\n"


@pytest.fixture
def liberty(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.lib"
    path.write_text(library(has_delays=True), encoding="utf-8")
    return path


def designs(folder: Path, parameters: str = "", name: str = "designs.toml") -> Path:
    source = folder / "a counter.sv"  # a path with a space is one argument
    source.write_text(COUNTER, encoding="utf-8")
    path = folder / name
    path.write_text(DESIGN.format(source=source, parameters=parameters), encoding="utf-8")
    return path


def test_without_a_library_transistors_are_counted_the_same_twice() -> None:
    first, second = (results("--design", "decoder-all") for _ in range(2))
    assert first == second
    assert first[0]["area"]["transistors"] > 0
    assert first[0]["area"]["area_um2"] is None
    assert "transistor counts" in run("--design", "decoder-all").stdout


def test_area_is_the_sum_of_the_cells(tmp_path: Path, liberty: Path) -> None:
    found = results("--liberty", liberty, "--designs", designs(tmp_path))[0]
    area = found["area"]
    total = sum(count * AREAS[name] for name, count in area["cells_by_type"].items())
    assert area["area_um2"] == pytest.approx(total)
    assert (area["registers"], area["register_um2"]) == (4, 36.0)
    assert area["cells"] == sum(area["cells_by_type"].values())
    assert found["kge"] == pytest.approx(total / AREAS["NAND2_X1"] / 1000)


def test_the_path_between_registers_is_a_flip_flop_and_whole_gates(
    tmp_path: Path, liberty: Path
) -> None:
    if shutil.which("sta") is None:
        pytest.fail("OpenSTA (`sta`) is missing; scripts/apt.sh installs it")
    timing = results("--liberty", liberty, "--designs", designs(tmp_path))[0]["timing"]
    for path in (timing["worst"], timing["registers"]):
        assert path["start"].startswith("count_o[")
        assert path["end"].startswith("count_o[")
        assert path["arrival_ns"] >= 2 + 2
        assert path["arrival_ns"] == round(path["arrival_ns"])


def test_a_library_without_delays_gives_areas(tmp_path: Path, liberty: Path) -> None:
    liberty.write_text(library(has_delays=False), encoding="utf-8")
    found = results("--liberty", liberty, "--designs", designs(tmp_path))[0]
    assert found["area"]["registers"] == 4
    assert found["timing"]["worst"] is None
    assert found["timing"]["note"]


def test_parameters_reach_the_module(tmp_path: Path, liberty: Path) -> None:
    file = designs(tmp_path, parameters="Width = 7")
    assert results("--liberty", liberty, "--designs", file)[0]["area"]["registers"] == 7


def test_flip_flops_with_reset_count_as_transistors(tmp_path: Path) -> None:
    area = results("--designs", designs(tmp_path))[0]["area"]
    assert area["transistors"] > 4 * 16
    assert area["transistors_exact"]


def test_a_gzipped_library_is_the_same(tmp_path: Path, liberty: Path) -> None:
    packed = tmp_path / "tiny.lib.gz"
    packed.write_bytes(gzip.compress(liberty.read_bytes()))
    plain, unpacked = results(
        "--liberty", liberty, "--liberty", packed, "--designs", designs(tmp_path)
    )
    assert plain == unpacked


def test_without_opensta_the_area_is_still_there(tmp_path: Path, liberty: Path) -> None:
    code = (
        "import os, sys; os.environ['PATH'] = '/nowhere'; "
        "from hwsim.verilog.synth.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    done = run("--liberty", liberty, "--designs", designs(tmp_path), code=code)
    assert done.returncode == 0
    assert "(`sta`) is not on PATH" in done.stdout


def test_the_file_is_written_as_asked(tmp_path: Path, liberty: Path) -> None:
    out = tmp_path / "area.md"
    arguments = ("--liberty", liberty, "--designs", designs(tmp_path), "--format", "md")
    assert run(*arguments, "--tries", "3", "-o", out).returncode == 0
    assert out.read_text(encoding="utf-8").startswith("| design | area um2 | spread% |")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


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


def test_every_design_of_the_project_has_its_files() -> None:
    assert "decoder-all" in [design.name for design in load()]


def test_bad_requests_are_one_line(tmp_path: Path, liberty: Path) -> None:
    assert "unknown design 'pe9'; allowed: " in refusal("--design", "pe9")
    line = refusal("--designs", designs(tmp_path), "--design", "no")
    assert line.endswith("unknown design 'no'; allowed: counter; groups: small\n")
    missing = tmp_path / "missing.lib"
    assert f"{missing}: No such file" in refusal("--liberty", missing)
    text = tmp_path / "text.lib"
    text.write_text("module a; endmodule", encoding="utf-8")
    assert f"{text} is no Liberty file" in refusal("--liberty", text)
    text.write_bytes(b"\x1f\x8b broken")
    assert f"{text}: " in refusal("--liberty", text)
    assert "'zz*' matches no cell" in refusal("--liberty", liberty, "--dont-use", "zz*")
    assert "no folder" in refusal("-o", tmp_path / "none" / "a.json")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("note", "notes", "design counter: unknown key 'notes'; allowed: name, top, sources"),
        ("[[design]]", "[[designs]]", "unknown key 'designs'; allowed: design"),
        ('"counter"', "7", "design number 1: name must be a str, it is 7"),
        ('note = "Counts."', "", "note is missing"),
        ("a counter.sv", "none.sv", "no file"),
        ('top = "counter"', 'top = "counters"', "no module 'counters' in its sources"),
        ("{  }", "{ Depth = 3 }", "module counter has no parameter 'Depth'"),
        ("{  }", "{ Width = 1.5 }", "parameter Width must be a whole number"),
        ("[[design]]", "[[design", "designs.toml"),
    ],
)
def test_a_wrong_designs_file_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = designs(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    assert said in refusal("--designs", path)


def test_verilog_that_fails_is_named(tmp_path: Path) -> None:
    path = designs(tmp_path)
    source = tmp_path / "a counter.sv"
    source.write_text(COUNTER.replace("rst_ni ?", "no_such ?"), encoding="utf-8")
    done = run("--designs", path)
    assert done.returncode == 1
    assert f"{source}:5: ERROR: use of undeclared identifier 'no_such'" in done.stdout
    assert "Traceback" not in done.stderr


def test_missing_pyosys_is_said_in_words() -> None:
    code = (
        "import sys; sys.modules['pyosys'] = None; "
        "from hwsim.verilog.synth.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    assert "pip install -e '.[synth]'" in refusal(code=code)


def test_the_flow_imports_nothing_of_the_project() -> None:
    code = (
        "import sys, hwsim.verilog.synth.__main__, hwsim.verilog.synth.worker;"
        "print([name for name in ('quant', 'roofline', 'hwsim', 'numpy', 'pyosys')"
        " if name in sys.modules])"
    )
    assert run(code=code).stdout == f"[]{os.linesep}"
