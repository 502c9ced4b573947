"""The critical path of a netlist: OpenSTA with ideal wires."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hwsim.verilog.synth.liberty import Library
from hwsim.verilog.synth.yosys import LIBERTY, LOAD_FF, NETLIST, ToolError

CLOCK = "clk_i"
ABSENT = "No timing: OpenSTA (`sta`) is not on PATH (Debian: apt-get install opensta)."
PERIOD_NS = 1000.0
SECTION = "== registers"
# Empty without flip-flops, and in a library without setup times.
BETWEEN = """set from [all_registers -clock_pins]
set to [all_registers -data_pins]
if {[llength $from] && [llength $to]} {
  report_checks -path_delay max -digits 4 -from $from -to $to
}"""
REPORT = re.compile(
    r"Startpoint: (\S+).*?Endpoint: (\S+).*?^\s+(-?[\d.]+)\s+data arrival time", re.DOTALL | re.M
)
CELL_TYPE = re.compile(r"\$_\w+_$")


@dataclass(frozen=True)
class Arrival:
    """The worst path: arrival of the data (ns, without setup), and where it starts and ends."""

    arrival_ns: float
    start: str
    end: str


@dataclass(frozen=True)
class Timing:
    """Worst path of all and worst between registers, or why there is none."""

    worst: Arrival | None
    registers: Arrival | None
    note: str


def find_sta() -> str | None:
    """Return OpenSTA's program, if it is installed."""
    return shutil.which("sta")


def version(sta: str) -> str:
    """Return OpenSTA's version."""
    done = subprocess.run([sta, "-version"], capture_output=True, text=True, check=False)
    return f"OpenSTA {done.stdout.split()[0] if done.stdout.split() else 'of unknown version'}"


def script(top: str, library: Library, clocked: bool) -> str:
    """Return the commands: inputs arrive at 0, outputs are due at the clock's edge."""
    port = f" [get_ports {CLOCK}]" if clocked else ""
    driving = f"  set_driving_cell -lib_cell {library.driver} $port" if library.driver else ""
    lines = [
        f"read_liberty {LIBERTY}",
        f"read_verilog {NETLIST}",
        f"link_design {top}",
        "set_cmd_units -time ns -capacitance fF",
        f"create_clock -name clock -period {PERIOD_NS}{port}",
        "foreach port [all_inputs] {",
        f"  if {{[get_property $port full_name] eq {{{CLOCK if clocked else ''}}}}} continue",
        "  set_input_delay 0 -clock clock $port",
        driving,
        "}",
        "set_output_delay 0 -clock clock [all_outputs]",
        f"set_load {LOAD_FF} [all_outputs]",
        "report_checks -path_delay max -digits 4",
        f"puts {{{SECTION}}}",
        BETWEEN,
    ]
    return "\n".join(line for line in lines if line) + "\n"


def analyse(sta: str, top: str, library: Library, registers: int, folder: Path) -> Timing:
    """Time the folder's netlist."""
    netlist = (folder / NETLIST).read_text(encoding="utf-8")
    clocked = registers > 0
    if clocked and not re.search(rf"^\s*input {CLOCK};", netlist, re.MULTILINE):
        return Timing(None, None, f"no timing: the design has registers and no port {CLOCK}")
    (folder / "sta.tcl").write_text(script(top, library, clocked), encoding="utf-8")
    done = subprocess.run(
        [sta, "-no_splash", "-no_init", "-exit", "sta.tcl"],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    said = done.stdout + done.stderr
    # OpenSTA ends with code 0 after an error.
    error = re.search(r"^Error:? .*", said, re.MULTILINE)
    if error or done.returncode or SECTION not in said:
        raise ToolError(f"OpenSTA: {error[0] if error else f'code {done.returncode}'}")
    before, after = done.stdout.split(SECTION)
    worst = parse(before)
    return Timing(worst, parse(after), "" if worst else "no timing: no path from input to output")


def parse(report: str) -> Arrival | None:
    """Return the latest path of a report_checks, with signals' names in place of flip-flops'.

    The report has a path for each group: asynchronous resets have a group of their own.
    """
    paths = [
        Arrival(float(time), *(CELL_TYPE.sub("", name.replace("\\", "")) for name in (start, end)))
        for start, end, time in REPORT.findall(report)
    ]
    return max(paths, key=lambda path: path.arrival_ns, default=None)
