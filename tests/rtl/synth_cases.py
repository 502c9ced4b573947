"""A tiny Liberty file and a tiny design, and the synthesis command run on them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hwsim.verilog.sources import RTL

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
    done = run(*arguments, "--output", "json")
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


def write_liberty(folder: Path) -> Path:
    """Write the tiny Liberty file, with delays."""
    path = folder / "tiny.lib"
    path.write_text(library(has_delays=True), encoding="utf-8")
    return path


def designs(folder: Path, parameters: str = "", name: str = "designs.toml") -> Path:
    source = folder / "a counter.sv"  # a path with a space is one argument
    source.write_text(COUNTER, encoding="utf-8")
    path = folder / name
    path.write_text(DESIGN.format(source=source, parameters=parameters), encoding="utf-8")
    return path
