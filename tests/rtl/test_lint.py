"""The RTL is clean in three checkers: Verilator, slang and Verible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hwsim.pe.arithmetic import MAX_GROUP, MAX_STEPS, Arithmetic
from hwsim.verilog.sources import RTL
from hwsim.verilog.toolchain import NEEDED, environment
from tests.rtl.simulator import ARRAY, BENCHES, PACKAGES, PE, ROOT

BASELINE = sorted((RTL / "baseline").glob("*.sv"))
FORMAL = sorted((RTL / "formal").glob("*.sv"))
DESIGN = [*PACKAGES, *PE, *ARRAY, *BASELINE]
TOPS = [path.stem for path in DESIGN if not path.stem.endswith("_pkg")]
PROOFS = [path.stem for path in FORMAL]
# slang's warnings that are not errors here:
# * packed-array-conv: ports of arrays are wired to vectors of the same bits, which is what a packed
#   array is (IEEE 1800, 7.4.1);
# * useless-cast: a cast that these parameters do not need, others do;
# * case-redundant-default: a `unique case` has a default all the same (lowRISC's style): it says
#   what a code outside the enumeration does.
WAIVED = ("-Wno-packed-array-conv", "-Wno-useless-cast", "-Wno-case-redundant-default")
pytestmark = pytest.mark.rtl


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    if shutil.which(command[0], path=path) is None:
        pytest.fail(f"{command[0]} is missing; {NEEDED}")
    done = {**variables, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=done)


def test_every_source_is_checked() -> None:
    assert sorted([*DESIGN, *FORMAL, *BENCHES]) == sorted(RTL.rglob("*.sv"))


@pytest.mark.parametrize("top", [*TOPS, *PROOFS])
def test_verilator(top: str) -> None:
    options = ["--lint-only", "-Wall", "--assert", "--top-module", top, f"-I{RTL / 'include'}"]
    sources = [*DESIGN, *FORMAL] if top in PROOFS else DESIGN
    done = run(["verilator", *options, *map(str, sources)])
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("lanes", "bits", "activation"),
    [(4, 8, "fp16"), (1, 10, "int8"), (16, 11, "fp16"), (8, 9, "fp8-e5m2"), (2, 8, "bf16")],
)
def test_a_tile_refuses_what_could_overflow_an_exponent(
    lanes: int, bits: int, activation: str
) -> None:
    rule = Arithmetic(lanes=lanes, accumulator_bits=bits, activation=activation)
    blocks = rule.max_steps // MAX_STEPS
    assert blocks * lanes < MAX_GROUP
    given: dict[str, object] = {"Lanes": lanes, "AccumulatorBits": bits, "Rows": 1, "Columns": 1}
    given |= {"Activation": f"3'd{rule.activations.id}"}
    for count, fault in ((blocks, ""), (blocks + 1, "MaxBlocks * MaxSteps <= max_steps")):
        own = [f"-G{name}={value}" for name, value in {**given, "MaxBlocks": count}.items()]
        options = ["--lint-only", "--assert", "--top-module", "tile", f"-I{RTL / 'include'}", *own]
        done = run(["verilator", *options, *map(str, DESIGN)])
        assert (fault in done.stderr and done.returncode != 0) if fault else done.returncode == 0


def test_slang(capfd: pytest.CaptureFixture[str]) -> None:
    import pyslang

    driver = pyslang.driver.Driver()
    driver.addStandardArgs()
    files = " ".join(str(path) for path in [*DESIGN, *FORMAL])
    options = f"-Wextra -Wconversion {' '.join(WAIVED)} -Werror -I {RTL / 'include'}"
    assert driver.parseCommandLine(f"slang {options} {files}")
    assert driver.processOptions()
    assert driver.parseAllSources()
    driver.reportCompilation(driver.createCompilation(), quiet=True)
    clean = driver.reportDiagnostics(quiet=True)
    assert clean, capfd.readouterr()


def test_verible() -> None:
    files = [*DESIGN, *FORMAL, *(RTL / "include").glob("*.svh"), *(ROOT / "tests/rtl").glob("*.sv")]
    done = run(["verible-verilog-lint", *map(str, files)])
    assert (done.returncode, done.stdout) == (0, "")
