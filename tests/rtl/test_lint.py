"""The RTL is clean in three checkers: Verilator, slang and Verible."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.rtl.simulator import NEEDED, RTL, environment

SOURCES = [RTL / "generated/terms_pkg.sv", RTL / "pe/weight_decoder.sv"]
pytestmark = pytest.mark.rtl


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, **environment()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    if shutil.which(command[0], path=path) is None:
        pytest.fail(f"{command[0]} is missing; {NEEDED}")
    done = {**variables, "PATH": path}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=done)


def test_every_source_is_checked() -> None:
    assert sorted(SOURCES) == sorted(RTL.rglob("*.sv"))


def test_verilator() -> None:
    options = ["--lint-only", "-Wall", "--top-module", "weight_decoder"]
    done = run(["verilator", *options, *map(str, SOURCES)])
    assert (done.returncode, done.stderr) == (0, "")


def test_slang() -> None:
    import pyslang

    driver = pyslang.driver.Driver()
    driver.addStandardArgs()
    files = " ".join(str(path) for path in SOURCES)
    assert driver.parseCommandLine(f"slang -Wextra -Wconversion -Werror {files}")
    assert driver.processOptions()
    assert driver.parseAllSources()
    compilation = driver.createCompilation()
    driver.reportCompilation(compilation, quiet=True)
    assert [str(d.code) for d in compilation.getAllDiagnostics()] == []


def test_verible() -> None:
    done = run(["verible-verilog-lint", *map(str, SOURCES)])
    assert (done.returncode, done.stdout) == (0, "")
