"""Runs vectors of modules in one program of Verilator: on the RTL, on mutants or on a netlist."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hwsim.verilog.sources import INCLUDE, sources
from hwsim.verilog.toolchain import environment
from quant.common.progress import say
from tests.rtl.vectors import Design

BENCH = """\
module bench_{index};
  logic [{width}-1:0] vectors [{count}];
  logic [{width}-1:0] vector;
  logic [{outputs}-1:0] got;
  logic [{select}-1:0] mutsel;
  logic clk, found;
  {module} u_dut ({ports});
  initial begin
    $readmemh("{index}.hex", vectors);
    clk = 0;
    for (int m = 0; m <= {mutants}; m++) begin
      mutsel = {select}'(m);
      found = 0;
      for (int i = 0; i < {count} && !found; i++) begin
        vector = vectors[i];
        #1 found = ((got ^ vector[{twice}-1:{outputs}]) & vector[{outputs}-1:0]) != 0;
        if (found && m == 0) $display("wrong {index} in case %0d: %h got %h", i, vector, got);
        clk = 1;
        #1 clk = 0;
      end
      if (!found) $display("equal {index} %0d", m);
    end
  end
endmodule
"""
TOP = "module benches;\n{instances}\nendmodule\n"
RELAXED = ("-Wno-fatal", "-Wno-lint")
"""The bench is generated; the RTL's own warnings are looked at elsewhere."""
_EQUAL = re.compile(r"equal (\d+) (\d+)")


class Outcome(NamedTuple):
    """What the benches said: of each the mutants that were equal (0: the module), and in words."""

    equal: dict[int, set[int]]
    text: str


def write_bench(
    design: Design, index: int, folder: Path, module: str | None = None, mutants: int = 0
) -> Path:
    """Write a design's vectors and its bench.

    Args:
        design: The module.
        index: Number of the bench.
        folder: Where the files go.
        module: What stands for it, with the same ports; None: the RTL, with the parameters.
        mutants: How many it has: its port ``mutsel`` chooses one.
    """
    lines = design.vectors()
    (folder / f"{index}.hex").write_text("\n".join(lines) + "\n", encoding="ascii")
    select = max(1, mutants.bit_length())
    ports = [*[".clk_i(clk)"] * design.clocked, *design.connections]
    ports += [".mutsel(mutsel)"] if mutants else []
    values = ", ".join(f".{name}({value})" for name, value in design.parameters.items())
    outputs = sum(design.outputs.values())
    text = BENCH.format(
        index=index, width=design.width, count=len(lines), outputs=outputs, twice=2 * outputs,
        select=select, mutants=mutants, ports=", ".join(ports),
        module=module or f"{design.top} #({values})",
    )  # fmt: skip
    place = folder / f"bench_{index}.sv"
    place.write_text(text, encoding="utf-8")
    return place


def run_benches(
    benches: Sequence[Path], folder: Path, files: Sequence[Path], arguments: Sequence[str] = ()
) -> Outcome:
    """Compile benches with the files of what they instantiate, and run them.

    Raises:
        RuntimeError: the build or the run failed, an assertion among them.
    """
    top = folder / "benches.sv"
    names = [bench.stem for bench in benches]
    top.write_text(TOP.format(instances="\n".join(f"  {name} u_{name} ();" for name in names)))
    command = ["verilator", "--binary", "-CFLAGS", "-fcoroutines", "--build-jobs", "2", *RELAXED]
    command += ["--top-module", "benches", f"-I{INCLUDE}", *arguments]
    command += map(str, (*files, *benches, top))
    say(f"building {len(benches)} benches in Verilator, running their vectors ...")
    _done(command, folder)
    start = ["+verilator+rand+reset+2", "+verilator+seed+7"]
    text = _done(["obj_dir/Vbenches", *start], folder)
    equal: dict[int, set[int]] = {}
    for index, mutant in _EQUAL.findall(text):
        equal.setdefault(int(index), set()).add(int(mutant))
    return Outcome(equal, text[-3000:])


def run_on_rtl(designs: Sequence[Design], folder: Path) -> Outcome:
    """Run the vectors of designs on the RTL, with its assertions."""
    benches = [write_bench(design, index, folder) for index, design in enumerate(designs)]
    arguments = ("--assert", "--x-assign", "unique", "--x-initial", "unique")
    return run_benches(benches, folder, sources(), arguments)


def _done(command: Sequence[str], folder: Path) -> str:
    settings = {**os.environ, **environment()}
    settings["MAKEFLAGS"] += " OPT_FAST=-O1"
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=settings
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout
