"""Faulty copies of a design in one netlist, judged by the bench that the tests run for it.

Yosys puts all mutants of a design into one netlist, switched by an input; Verilator runs them one
after another on the same vectors or script until an output differs. Those that nothing finds are
compared with the original by SAT, from any state: if no input tells them apart they are no faults.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hwsim.verilog.sources import RTL
from quant.common.progress import say
from tests.rtl.machines import JUDGE_CLOCKS, JUDGE_SEED, Machine
from tests.rtl.tile_replay import run_mutants
from tests.rtl.tile_script import drawn_script
from tests.rtl.tile_twin import compiled_walk
from tests.rtl.vector_bench import run_benches, write_bench
from tests.rtl.vectors import Design
from tests.verification.yosys import read, yosys

SAT_SECONDS = 30


@dataclass(frozen=True)
class Target:
    """A design whose mutants are judged together.

    Attributes:
        name: What the record calls it.
        bench: A module with vectors, or a tile, which replays a script.
        shares: Mutants of each file of the design, by its stem.
    """

    name: str
    bench: Design | Machine
    shares: Mapping[str, int]

    @property
    def count(self) -> int:
        """All mutants."""
        return sum(self.shares.values())


@dataclass(frozen=True)
class Judged:
    """What became of a design's mutants.

    Attributes:
        netlist: Checksum of the netlist: with another one these are other mutants.
        lines: What Yosys did for each, from 1 on.
        files: The file of each.
        alive: Those that nothing found and that differ from the original.
        equivalent: Those that SAT shows to be no faults.
    """

    netlist: int
    lines: tuple[str, ...]
    files: tuple[str, ...]
    alive: tuple[int, ...]
    equivalent: tuple[int, ...]

    def said(self, mutant: int) -> str:
        """A mutant in words."""
        line = self.lines[mutant - 1]
        text = re.sub(r"^mutate -ctrl \S+ \d+ \d+ | -module dut| -src .*", "", line).strip()
        return f"{self.files[mutant - 1]}: {text}"


def judge(target: Target, seed: int, folder: Path, rtl: Path = RTL) -> Judged:
    """Make, run and judge the mutants of a target.

    Args:
        target: The design.
        seed: Of the choice of mutants.
        folder: For all files.
        rtl: Where the Verilog lies.

    Raises:
        RuntimeError: a tool failed, or the design itself differs from its specification.
    """
    say(f"{target.count} mutants of {target.name}, seed {seed} ...")
    lines, files = _make(target, seed, folder, rtl)
    found = _run(target, len(lines), folder)
    if 0 not in found:
        raise RuntimeError(f"{target.name}: the design itself differs from its specification")
    left = sorted(found - {0})
    width = len(lines).bit_length()
    same = [mutant for mutant in left if _is_equivalent(mutant, width, folder)]
    alive = tuple(mutant for mutant in left if mutant not in same)
    netlist = zlib.crc32((folder / "dut.v").read_bytes())
    return Judged(netlist, tuple(lines), tuple(files), alive, tuple(same))


def _make(target: Target, seed: int, folder: Path, rtl: Path) -> tuple[list[str], list[str]]:
    """Write ``dut.v`` and ``mutants.il``; return what was done for each mutant, and its file."""
    top, parameters = _top(target.bench)
    width, first = target.count.bit_length(), 1
    steps = [read(top, rtl, (), parameters), f"prep -flatten -top {top}", "memory_map"]
    steps += ["opt -full", "bwmuxmap", "dffunmap", f"rename {top} dut"]
    for number, (stem, count) in enumerate(target.shares.items()):
        steps += [f"mutate -list {count} -seed {seed} -ctrl mutsel {width} {first}"
                  f" -o list_{number}.ys a:src=*/{stem}.sv:*"]  # fmt: skip
        first += count
    steps += [f"script list_{number}.ys" for number in range(len(target.shares))]
    steps += ["opt_clean", "write_rtlil mutants.il", "write_verilog -noattr -noparallelcase dut.v"]
    made = yosys(steps, folder)
    if made.code:
        raise RuntimeError(f"{target.name}: Yosys: {made.text.strip()[-600:]}")
    lines, files = [], []
    for number, (stem, count) in enumerate(target.shares.items()):
        text = (folder / f"list_{number}.ys").read_text(encoding="utf-8").splitlines()
        own = [line for line in text if line.startswith("mutate")]
        if len(own) != count:
            raise RuntimeError(f"{target.name}: {len(own)} mutants of {stem}, not {count}")
        lines += own
        files += [stem] * count
    return lines, files


def _top(bench: Design | Machine) -> tuple[str, list[str]]:
    """The top module and its parameters as Yosys takes them."""
    values: Mapping[str, object] = bench.values if isinstance(bench, Machine) else bench.parameters
    top = "axis_tile" if isinstance(bench, Machine) else bench.top
    return top, [f"{name}={value}" for name, value in values.items()]


def _run(target: Target, count: int, folder: Path) -> set[int]:
    """Return the mutants that the bench did not find; 0 is the design itself."""
    netlist = folder / "dut.v"
    if isinstance(target.bench, Design):
        bench = write_bench(target.bench, 0, folder, "dut", count)
        return run_benches([bench], folder, [netlist]).equal.get(0, set())
    script = drawn_script(target.bench, [JUDGE_SEED], JUDGE_CLOCKS, compiled_walk)
    script.write(folder, 0)
    return run_mutants(target.bench, count, netlist, folder)


def cut(text: str) -> str:
    """Return a module with its registers as inputs (what they hold) and outputs (what comes)."""
    wires: list[str] = []

    def replace(found: re.Match[str]) -> str:
        index = len(wires) // 2
        block = found[0]
        held, comes = (re.search(rf"connect \\{name} (.*)", block) for name in "QD")
        width = re.search(r"\\WIDTH (?:32')?(\d+)", block)
        assert held is not None, block
        assert comes is not None, block
        assert width is not None, block
        bits = int(width[1], 2 if len(width[1]) > 8 else 10)
        for port, kind in (("q", "input"), ("d", "output")):
            wires.append(f"  wire width {bits} {kind} {900 + len(wires)} \\cut_{index}_{port}\n")
        return f"  connect {held[1]} \\cut_{index}_q\n  connect \\cut_{index}_d {comes[1]}\n"

    body = REGISTER.sub(replace, text)
    return re.sub(r"(?m)^module .*\n", lambda found: found[0] + "".join(wires), body, count=1)


REGISTER = re.compile(
    r"(?:^  attribute .*\n)*^  cell \$dff .*\n(?:^    .*\n)*^  end\n", re.MULTILINE
)


def _is_equivalent(mutant: int, width: int, folder: Path) -> bool:
    """Whether SAT shows that nothing tells a mutant from the original, from any state."""
    text = (folder / "mutants.il").read_text(encoding="utf-8")
    (folder / "cut.il").write_text(cut(text), encoding="utf-8")
    lines = ["read_rtlil cut.il"]
    for name, value in (("gold", 0), ("gate", mutant)):
        lines += [f"copy dut {name}", f"cd {name}", "delete -input w:mutsel"]
        lines += [f"connect -set mutsel {width}'d{value}", "cd .."]
    lines += [
        "delete dut",
        "miter -equiv -flatten -make_outputs gold gate miter",
        "hierarchy -top miter",
        "opt -full",
        f"sat -verify -prove trigger 0 -timeout {SAT_SECONDS} miter",
    ]
    return yosys(lines, folder).code == 0
