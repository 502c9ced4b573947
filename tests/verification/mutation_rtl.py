"""Faults in the RTL that the specification's vectors must find.

Yosys puts all mutants of a design into one netlist, switched by an input; Verilator runs them one
after another on the same vectors until an output differs. Those that no vector finds are compared
with the original by SAT, from any state: if no input tells them apart they are no faults.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from hwsim.verilog.toolchain import environment
from tests.verification.finding import Finding
from tests.verification.mutation_vectors import DESIGNS, Case, Design
from tests.verification.yosys import RTL, read, yosys

PART = "Mutants of the RTL"
SEED = 20
QUICK = {"step_sequencer": 10, "ping_pong_buffer": 10}
"""Mutants of the quick sample."""
SAT_SECONDS = 30
EXPLAINED: dict[tuple[str, int], dict[int, str]] = {
    ("bit_serial_pe", 0x62B59A34): {
        94: "the accumulator is never the least number of its width (bad_range_o is proved)",
    },
    ("step_sequencer", 0xA0C5ABDB): {
        16: "a later step is never issued before an earlier one (IssuedInOrder is proved)",
    },
    ("drain_sequencer", 0xF3ED7798): {
        6: "there is no fourth row (RowInRange is proved)",
        29: "a loaded group is remembered one clock longer, in which none is awaited",
    },
}
"""Survivors that differ only in states that do not occur: design and checksum of its netlist,
numbers of mutants and why. With another netlist they are other mutants and need other reasons."""


@dataclass(frozen=True)
class Mutants:
    """What became of a design's mutants: their numbers, and survivors in words."""

    design: Design
    count: int
    vectors: int
    equivalent: int
    explained: list[str]
    survivors: list[str]

    @property
    def alive(self) -> int:
        """How many survive without a reason; the last line of survivors names the netlist."""
        return max(0, len(self.survivors) - 1)


def mutate(design: Design, count: int, folder: Path, rtl: Path = RTL) -> Mutants:
    """Make, run and judge the mutants of a design."""
    width = count.bit_length()
    made = yosys(
        [
            read(design.top, rtl, (), design.parameters),
            f"prep -flatten -top {design.top}",
            "memory_map",
            "opt -full",
            "bwmuxmap",
            "dffunmap",
            f"rename {design.top} dut",
            f"mutate -list {count} -seed {SEED} -ctrl mutsel {width} 1 -o mutants.ys",
            "script mutants.ys",
            "opt_clean",
            "write_rtlil mutants.il",
            "write_verilog -noattr -noparallelcase dut.v",
        ],
        folder,
    )
    if made.code:
        raise RuntimeError(f"{design.name}: Yosys: {made.text.strip()[-600:]}")
    cases = list(design.cases())
    (folder / "vectors.hex").write_text(_packed(design, cases), encoding="ascii")
    (folder / "bench.sv").write_text(_bench(design, count, len(cases)), encoding="utf-8")
    alive = _simulate(folder)
    if 0 not in alive:
        raise RuntimeError(f"{design.name}: the design itself differs from its specification")
    lines = (folder / "mutants.ys").read_text(encoding="utf-8").splitlines()
    lines = [line for line in lines if line.startswith("mutate")]
    left = [m for m in sorted(alive) if m > 0 and not _is_equivalent(m, width, folder)]
    netlist = (folder / "dut.v").read_bytes()
    reasons = EXPLAINED.get((design.name, zlib.crc32(netlist)), {})
    same = len(alive) - 1 - len(left)
    explained = [f"{m}: {reasons[m]}" for m in left if m in reasons]
    survivors = [f"{m}: {_short(lines[m - 1])}" for m in left if m not in reasons]
    if survivors:
        survivors.append(f"netlist {zlib.crc32(netlist):#010x}")
    return Mutants(design, count, len(cases), same, explained, survivors)


def _short(line: str) -> str:
    """A mutation without what all have."""
    return re.sub(r"^mutate -ctrl \S+ \d+ \d+ | -module dut| -src .*", "", line).strip()


def _packed(design: Design, cases: list[Case]) -> str:
    """Vectors in hex: inputs, wanted outputs, mask; the first port is highest."""
    lines = []
    for given, wanted in cases:
        word = 0
        for name, bits in design.inputs.items():
            word = word << bits | given.get(name, 0)
        for name, bits in design.outputs.items():
            word = word << bits | wanted.get(name, 0)
        for name, bits in design.outputs.items():
            word = word << bits | ((1 << bits) - 1 if name in wanted else 0)
        lines.append(f"{word:x}")
    return "\n".join(lines) + "\n"


def _bench(design: Design, count: int, cases: int) -> str:
    outputs = sum(design.outputs.values())
    width = sum(design.inputs.values()) + 2 * outputs
    ports = [".mutsel(mutsel)"] + [".clk_i(clk)"] * design.clocked
    place = width
    for name, bits in (design.inputs | design.outputs).items():
        source = "vector" if name in design.inputs else "got"
        if name == next(iter(design.outputs)):
            place = outputs
        ports.append(f".{name}({source}[{place - 1}:{place - bits}])")
        place -= bits
    return BENCH.format(
        width=width, outputs=outputs, twice=2 * outputs, bits=count.bit_length(), count=count,
        cases=cases, ports=", ".join(ports),
    )  # fmt: skip


BENCH = """\
module bench;
  logic [{width}-1:0] vectors [{cases}];
  logic [{width}-1:0] vector;
  logic [{outputs}-1:0] got;
  logic [{bits}-1:0] mutsel;
  logic clk, found;
  dut u_dut ({ports});
  initial begin
    $readmemh("vectors.hex", vectors);
    clk = 0;
    for (int m = 0; m <= {count}; m++) begin
      mutsel = {bits}'(m);
      found = 0;
      for (int i = 0; i < {cases} && !found; i++) begin
        vector = vectors[i];
        #1 found = ((got ^ vector[{twice}-1:{outputs}]) & vector[{outputs}-1:0]) != 0;
        clk = 1;
        #1 clk = 0;
      end
      if (!found) $display("alive %0d", m);
      else if (m == 0) $display("wrong %h got %h", vector, got);
    end
    $finish;
  end
endmodule
"""


def _simulate(folder: Path) -> set[int]:
    """Return the mutants that no vector found; 0 is the design itself."""
    command = ["verilator", "--binary", "-Wno-fatal", "-Wno-lint", "--x-assign", "0", "-O3"]
    command += ["--build-jobs", "2", "-CFLAGS", "-fcoroutines -O1", "--top-module", "bench"]
    variables = {**os.environ, **environment()}
    for words in ([*command, "bench.sv", "dut.v"], ["obj_dir/Vbench"]):
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, check=False, env=variables
        )
        if done.returncode:
            raise RuntimeError(done.stdout[-600:] + done.stderr[-600:])
    return {int(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("alive")}


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


def run(scale: str) -> list[Finding]:
    """All designs, or a quick sample."""
    findings = []
    for design in DESIGNS:
        count = QUICK.get(design.name, 0) if scale == "quick" else design.mutants
        if count == 0:
            continue
        with tempfile.TemporaryDirectory() as folder:
            found = mutate(design, count, Path(folder))
        note = f"{found.vectors} vectors; {found.equivalent} equivalent by SAT; seed {SEED}"
        if found.explained:
            note += "; differ only where no state is: " + "; ".join(found.explained)
        if found.survivors:
            note += "; survive: " + "; ".join(found.survivors)
        what = f"{design.name} against the specification"
        # What behaves like the original is no fault to be found.
        differ = count - found.equivalent - len(found.explained)
        findings.append(Finding(PART, what, differ, "mutants that differ", found.alive, note))
    return findings


if __name__ == "__main__":
    for finding in run(sys.argv[1] if len(sys.argv) > 1 else "quick"):
        print(finding.what, finding.count, finding.failures, finding.note, flush=True)
