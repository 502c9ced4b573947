"""The RTL is clean in three checkers: Verilator, slang and Verible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rtl.simulator import ARRAY, NEEDED, PACKAGES, PE, ROOT, RTL, environment

BASELINE = sorted((RTL / "baseline").glob("*.sv"))
FORMAL = sorted((RTL / "formal").glob("*.sv"))
DESIGN = [*PACKAGES, *PE, *ARRAY, *BASELINE]
TOPS = [path.stem for path in DESIGN if not path.stem.endswith("_pkg")]
PROOFS = [path.stem for path in FORMAL]
# slang's warnings that are not errors here:
# * packed-array-conv: ports of arrays are wired to vectors of the same bits, which is what a packed
#   array is (IEEE 1800, 7.4.1);
# * useless-cast: a cast that these parameters do not need, others do.
WAIVED = ("-Wno-packed-array-conv", "-Wno-useless-cast")
pytestmark = pytest.mark.rtl


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    if shutil.which(command[0], path=path) is None:
        pytest.fail(f"{command[0]} is missing; {NEEDED}")
    done = {**variables, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=done)


def test_every_source_is_checked() -> None:
    assert sorted([*DESIGN, *FORMAL]) == sorted(RTL.rglob("*.sv"))


@pytest.mark.parametrize("top", [*TOPS, *PROOFS])
def test_verilator(top: str) -> None:
    options = ["--lint-only", "-Wall", "--assert", "--top-module", top, f"-I{RTL / 'include'}"]
    sources = [*DESIGN, *FORMAL] if top in PROOFS else DESIGN
    done = run(["verilator", *options, *map(str, sources)])
    assert (done.returncode, done.stderr) == (0, "")


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
