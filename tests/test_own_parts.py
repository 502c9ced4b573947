"""Own parts, each in one new file outside of the packages, through the whole house."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def run(*arguments: str) -> str:
    """Run a command from the root and return what it prints."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("own")
    found: dict[str, Any] = json.loads(run("-m", "tests.own.everything", str(folder)))
    return found


@pytest.mark.model
def test_quantize(seen: dict[str, Any]) -> None:
    assert seen["quantized"]["formats"] == [
        "centred4:g32:e5m3", "int4:g32:e5m3", "ladder4:g32:e5m3",
    ]  # fmt: skip
    assert seen["quantized"]["reloaded"]


@pytest.mark.model
def test_calibrated_analyze(seen: dict[str, Any]) -> None:
    analyzed = seen["analyzed"]
    assert 0 < analyzed["without_op_s"] < analyzed["least_s"] < analyzed["expected_s"]
    assert "Adapter" in analyzed["kinds"]


@pytest.mark.model
def test_simulate(seen: dict[str, Any]) -> None:
    simulated = seen["simulated"]
    assert simulated["element"] == "LookupTable"
    assert simulated["cycles"] > simulated["own_op_cycles"] > 0
    assert simulated["energy_j"] > 0


@pytest.mark.model
def test_codesign(seen: dict[str, Any]) -> None:
    plan = set(seen["designed"]["plan"])
    assert plan & {"ladder4:g32:e5m3", "centred4:g32:e5m3"}
    report = seen["designed"]["report"]
    assert "no bit-exact model of garage-lut's elements (lookup-table" in report
    assert "On garage-lut a block of weights takes 2 cycles as `ladder4`, `centred4`" in report


def test_own_parts_keep_the_contracts() -> None:
    out = run("-m", "pytest", "-q", "tests/own/contracts.py", "-p", "no:cacheprovider")
    assert " passed" in out
    assert "failed" not in out
