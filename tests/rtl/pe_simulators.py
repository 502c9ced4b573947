"""``bit_serial_pe`` on two simulators: Verilator, and Icarus on what Yosys elaborates."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from hwsim.pe.arithmetic import PUBLISHED, Arithmetic
from hwsim.verilog.toolchain import environment
from quant.common.progress import say
from tests.rtl.simulator import INCLUDES, PACKAGES, PE

BENCH = Path(__file__).parent / "pe_tb.v"
RULES = {"published": PUBLISHED, "default": Arithmetic()}
QUICK, FULL = 5_000, 100_000
SOURCES = [*PACKAGES, *PE]
ELABORATE = """\
import sys
from pyosys import libyosys as ys
design = ys.Design()
for line in sys.stdin:
    ys.run_pass(line.strip(), design)
"""


def verilator(folder: Path, rule: Arithmetic) -> list[str]:
    """Build the bench around the SystemVerilog; return the command that runs it."""
    command = ["verilator", "--binary", "-Wall", "-Wno-DECLFILENAME", "--build-jobs", "2"]
    command += ["-CFLAGS", "-fcoroutines", "--top-module", "pe_tb", "--Mdir", str(folder)]
    command += [f"-G{name}={value}" for name, value in parameters(rule).items()]
    command += [f"-I{INCLUDES[0]}", *map(str, SOURCES), str(BENCH)]
    execute(command, environment())
    return [str(folder / "Vpe_tb")]


def icarus(folder: Path, rule: Arithmetic) -> list[str]:
    """Elaborate with Yosys and build the bench for Icarus; return the command that runs it."""
    if shutil.which("iverilog") is None:
        pytest.fail("iverilog is missing; scripts/apt.sh installs the second simulator")
    folder.mkdir(parents=True, exist_ok=True)
    netlist = folder / "bit_serial_pe.v"
    read = "read_slang --single-unit --ignore-assertions --top bit_serial_pe"
    read += f" -G AccumulatorBits={rule.accumulator_bits} -I {INCLUDES[0]} "
    passes = [read + " ".join(map(str, SOURCES)), "proc", "opt_clean"]
    lines = "\n".join([*passes, f"write_verilog -noattr {netlist}"])
    execute([sys.executable, "-c", ELABORATE], {}, lines)
    command = ["iverilog", "-g2005", "-DNETLIST", "-s", "pe_tb", "-o", str(folder / "pe_tb.vvp")]
    command += [f"-Ppe_tb.{name}={value}" for name, value in parameters(rule).items()]
    execute([*command, str(netlist), str(BENCH)], {})
    return ["vvp", "-n", str(folder / "pe_tb.vvp")]


SIMULATORS = {"verilator": verilator, "icarus": icarus}


def parameters(rule: Arithmetic) -> dict[str, int]:
    """Return the bench's parameters."""
    return {
        "AccumulatorBits": rule.accumulator_bits,
        "GroupExponent": rule.accumulator_exponent_bits,
    }


def play(program: Sequence[str], vectors: Path) -> tuple[int, int, str]:
    """Play vectors; return the clocks that were compared, mismatches and what the bench said."""
    say("playing vectors on the PE ...")
    text = execute([*program, f"+vectors={vectors}"], {})
    found = re.search(r"checked (\d+) mismatches (\d+)", text)
    assert found is not None, text
    return int(found[1]), int(found[2]), text


def execute(command: Sequence[str], variables: Mapping[str, str], text: str = "") -> str:
    """Run a command that must succeed; return its output."""
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        input=text,
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
