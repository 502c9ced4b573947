"""Programs at the boundary: faults in threads, tracebacks on demand, every way to start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.edges.programs import started

ROOT = Path(__file__).parents[2]
MODULES = (
    "quant", "roofline", "hwsim", "quant.cli", "roofline.cli", "hwsim.cli",
    "hwsim.verilog.synth", "hwsim.verilog.export", "hwsim.verilog.reference",
    "hwsim.verilog.toolchain",
)  # fmt: skip
"""What ``python -m`` starts."""


def test_a_fault_of_ours_is_one_line_and_shows_its_calls_on_demand() -> None:
    processes = [
        started("fault", env=os.environ | {"HWSIM_TRACEBACK": shown}) for shown in ("", "1")
    ]
    (_, short), (_, long) = (process.communicate(timeout=60) for process in processes)
    assert [process.returncode for process in processes] == [1, 1]
    assert short.startswith("probe: a fault of this program, not of the request: ")
    assert short.count("\n") == 1
    assert long.startswith("Traceback ")
    assert long.endswith(short)


def test_a_fault_in_a_thread_is_one_line() -> None:
    _, errors = started("thread_fault").communicate(timeout=60)
    assert errors.startswith("probe: a fault of this program")
    assert errors.count("\n") == 1


def test_a_message_is_one_line_that_a_terminal_does_not_obey() -> None:
    process = started("long_line")
    assert process.communicate(timeout=60)[1] == "probe: wrong \\x1b[2J\\u202e end\n"
    assert process.returncode == 2


@pytest.mark.parametrize("module", MODULES)
def test_a_module_that_is_run_says_what_is_wrong_on_one_line(module: str) -> None:
    line = [sys.executable, "-m", module, "--nonsense"]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "--nonsense" in done.stderr
