"""Builds tiles side by side in one program of Verilator and replays a script on each."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hwsim.verilog.sources import INCLUDE, RTL, sources
from hwsim.verilog.toolchain import environment
from quant.common.progress import say
from tests.rtl.machines import Machine

BENCH = Path(__file__).with_name("tile_replay.sv")
TOP = """\
module tile_replays;
  logic clk;
  initial begin
    clk = 1'b0;
    forever #1 clk = !clk;
  end
  logic [{last}:0] done;
{tiles}
  always @(posedge clk) if (&done) $finish;
endmodule
"""
TILE = "  tile_replay #({parameters}) u_tile_{index} (.clk_i(clk), .done_o(done[{index}]));"
WARNINGS = ("-Wall", "-Wno-BLKSEQ", "-Wno-UNUSEDSIGNAL", "-Wno-DECLFILENAME")
"""All of the tile's; the bench reads files in its clocked block."""
_EQUAL = re.compile(r"tile (\d+) equal for (\d+) clocks")


class Outcome(NamedTuple):
    """What replays said: the clocks that were equal of each tile, and the rest in words."""

    clocks: dict[int, int]
    text: str


def build_replays(
    machines: Sequence[Machine],
    folder: Path,
    optimization: str = "-O0",
    files: Sequence[Path] | None = None,
) -> Path:
    """Compile tiles, with assertions and registers that start at random; return the program.

    Args:
        machines: The tiles.
        folder: Where the build goes.
        optimization: Of the compiler; half of a short test's time is its own.
        files: Other RTL, whose warnings are let pass; None: ours.

    Raises:
        RuntimeError: the build failed; a warning of our RTL is an error.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tiles = [TILE.format(parameters=_said(m, i), index=i) for i, m in enumerate(machines)]
    top = folder / "tile_replays.sv"
    top.write_text(TOP.format(last=len(machines) - 1, tiles="\n".join(tiles)), encoding="utf-8")
    command = ["verilator", "--binary", "-CFLAGS", "-fcoroutines", "--assert"]
    command += ["--x-assign", "unique", "--x-initial", "unique", "--build-jobs", "2"]
    command += WARNINGS if files is None else ["-Wno-fatal"]
    command += ["--Mdir", str(folder / "build"), "--top-module", "tile_replays", f"-I{INCLUDE}"]
    command += map(str, (RTL / "tb/verilator.vlt", *(files or sources()), BENCH, top))
    say(f"building {len(machines)} tiles in Verilator ...")
    done = _run(command, folder, optimization)
    if done.returncode:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-3000:])
    return folder / "build" / "Vtile_replays"


def replay(program: Path, folder: Path, seed: int) -> Outcome:
    """Replay the scripts of a folder; registers start at random by the seed."""
    start = ["+verilator+rand+reset+2", f"+verilator+seed+{1 + seed % 0x7FFFFFFE}"]
    done = _run([str(program), f"+folder={folder}", *start], folder)
    text = done.stdout + done.stderr
    clocks = {int(index): int(count) for index, count in _EQUAL.findall(text)}
    say(f"{sum(clocks.values())} clocks of {len(clocks)} tiles are equal")
    return Outcome(clocks, text[-3000:])


def run_mutants(machine: Machine, mutants: int, netlist: Path, folder: Path) -> set[int]:
    """Replay script 0 of a folder on the mutants of a netlist; return those that it did not find.

    Number 0 is the netlist as it was.
    """
    top = folder / "tile_replays.sv"
    tile = TILE.format(parameters=f"{_said(machine, 0)}, .Mutants({mutants})", index=0)
    top.write_text(TOP.format(last=0, tiles=tile), encoding="utf-8")
    command = ["verilator", "--binary", "-CFLAGS", "-fcoroutines", "-DMUTANTS", "-Wno-fatal"]
    command += ["-Wno-lint", "--build-jobs", "2", "--Mdir", str(folder / "build")]
    command += ["--top-module", "tile_replays", f"-I{INCLUDE}"]
    packages = [file for file in sources() if file.stem.endswith("_pkg")]
    done = _run([*command, *map(str, (*packages, netlist, BENCH, top))], folder, "-O1")
    if done.returncode:
        raise RuntimeError(done.stdout[-1000:] + done.stderr[-3000:])
    say(f"replaying the script on {mutants} mutants ...")
    said = _run([str(folder / "build/Vtile_replays"), f"+folder={folder}"], folder).stdout
    return {int(number) for number in re.findall(r"mutant (\d+) +alive", said)}


def _said(machine: Machine, index: int) -> str:
    values = {"Index": index, **machine.values}
    return ", ".join(f".{name}({value})" for name, value in values.items())


def _run(
    command: Sequence[str], folder: Path, optimization: str = "-O0"
) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, **environment()}
    settings["MAKEFLAGS"] += f" OPT_FAST={optimization} OPT_SLOW=-O0"
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=settings
    )
