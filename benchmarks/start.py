"""How long the start takes: imports, help texts, and first calls.

Run alone: ``python -m benchmarks.start``. Every figure is the median over processes of their own.
First calls are timed twice: with an empty cache of compiled kernels, and with a full one.
"""

from __future__ import annotations

import importlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import typer.core
import typer.main

REPORT = Path(__file__).parent.parent / "reports/start.md"
TRIES = 3
IMPORTS = ("quant", "roofline", "hwsim")
WEIGHT = "import numpy as np; w = np.random.default_rng(0).standard_normal((256, 1024))"
CALLS = {
    "quant.quantize(w, 'bitmod3:int8')": (
        f"{WEIGHT}; import quant; quant.quantize(w, 'bitmod3:int8')"
    ),
    "roofline.analyze(...)": (
        "import roofline; "
        "roofline.analyze(roofline.workload('llama-2-7b', 'decode'), 'h100-sxm').time_s"
    ),
    "roofline.sweep(...)": "import roofline; roofline.sweep('llama-2-7b', batch=range(1, 65))",
    "hwsim.simulate(...)": (
        "import hwsim, roofline; from hwsim.simulation.simulate import machine_formats; "
        "m = hwsim.load_accelerator('bitmod'); "
        "hwsim.simulate(roofline.workload('llama-2-7b', 'decode', **machine_formats(m)), m)"
    ),
}


def seconds(code: str, tries: int = TRIES, cache: Path | None = None) -> float:
    """Return the median wall time of a process that runs a text, s.

    Args:
        code: Python.
        tries: Processes.
        cache: Folder of compiled kernels; None: the usual ones.
    """
    variables = {**os.environ} | ({"NUMBA_CACHE_DIR": str(cache)} if cache else {})
    times = []
    for _ in range(tries):
        begin = time.perf_counter()
        command = [sys.executable, "-c", code]
        subprocess.run(command, check=True, env=variables, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def commands(program: str) -> list[str]:
    """Return the names of a program's commands."""
    app = importlib.import_module(f"{program}.cli").app
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    return list(group.commands)


def helped(program: str, command: str) -> str:
    """Return the text that shows a command's help."""
    words = [program, *([command] if command else []), "--help"]
    return f"import sys; sys.argv = {words!r}; from {program}.cli import main; main()"


def lines() -> list[str]:
    """Measure and return the report."""
    bare = seconds("pass")
    out = [
        "# How long the start takes",
        "",
        f"`python -m benchmarks.start`, alone: medians of {TRIES} processes on {os.cpu_count()} "
        f"cores, wall time of the whole process; Python alone takes {bare:.2f} s of each.",
        "",
        "| import | s |",
        "|---|---:|",
        *(f"| `import {name}` | {seconds(f'import {name}'):.2f} |" for name in IMPORTS),
        "",
        "| help | s |",
        "|---|---:|",
    ]
    for program in IMPORTS:
        for command in ("", *commands(program)):
            name = f"{program} {command}".strip()
            out.append(f"| `{name} --help` | {seconds(helped(program, command)):.2f} |")
    out += [
        "",
        "First calls, import and data included; compiled kernels are kept on disk.",
        "",
        "| first call | nothing compiled, s | compiled before, s |",
        "|---|---:|---:|",
    ]
    for name, code in CALLS.items():
        with tempfile.TemporaryDirectory() as folder:
            first = seconds(code, 1, Path(folder))
            again = seconds(code, TRIES, Path(folder))
        out.append(f"| `{name}` | {first:.1f} | {again:.2f} |")
    return out


def main() -> None:
    """Write the report."""
    text = "\n".join(lines()) + "\n"
    REPORT.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
