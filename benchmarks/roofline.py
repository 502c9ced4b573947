"""Time of one analysis and rate of a sweep, beside LLM-Viewer's own formulas, in one process.

Run with nothing beside it: ``python -m benchmarks.roofline``. LLM-Viewer itself took 0.117 ms an
analysis of both phases (its analyzer run on two cores of another day; see
``tests/golden/llm_viewer.json``); here its formulas are ours (``roofline.compat.llm_viewer``), so
both sides run on this machine at this time.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import roofline
from quant.common.files import write_text
from roofline.bounds.sweep import sweep
from roofline.compat import llm_viewer
from roofline.devices.device import load_hardware
from roofline.workloads.models import load_config
from roofline.workloads.workload import Phase

REPEATS = 2000
PHASES: tuple[Phase, ...] = ("prefill", "decode")
MODELS = ("llama-2-7b", "llama-3.1-70b", "deepseek-v3")
REPORT = Path("reports/roofline_speed.md")


def median_s(call: Callable[[int], object]) -> float:
    """Return the median seconds of a call, each with another batch and context."""
    for i in range(50):
        call(i)
    times = []
    for i in range(REPEATS):
        start = time.perf_counter()
        call(i)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def analyses() -> list[str]:
    """Return rows of one analysis of both phases, every op materialized."""
    spec, rows = load_hardware("h100-sxm"), []
    for model in MODELS:

        def ours(i: int, model: str = model) -> float:
            prompt = roofline.workload(model, "prefill", 1 + i % 7, 128 + i)
            step = roofline.workload(model, "decode", 1 + i % 7, 128 + i)
            found = (roofline.analyze(prompt, spec), roofline.analyze(step, spec))
            return sum(analysis.time_s for analysis in found)

        ops = sum(
            len(roofline.workload(model, p, 1, 9).template.ops) for p in ("prefill", "decode")
        )
        rows.append(f"| {model} | {ops} | {median_s(ours) * 1e3:.3f} | |")
    config = load_config("llama-2-7b")[1]

    def theirs(i: int) -> float:
        found = llm_viewer.analyze(config, "nvidia_H100", 1 + i % 7, 128 + i)
        return found.prefill.total["inference_time"]

    rows.append(f"| llama-2-7b, LLM-Viewer's formulas | 32 | {median_s(theirs) * 1e3:.3f} | |")
    return rows


def sweeps() -> list[str]:
    """Return rows of a sweep of a million points into a DataFrame."""
    rows = []
    devices = ["h100-sxm", "a100-80g", "mi300x", "tpu-v5e"]
    axes = (np.arange(1, 257).tolist(), np.arange(16, 16 + 4 * 976, 4).tolist())
    for calibrated in (False, True):
        sweep("llama-3.1-8b", devices, batch=[1], context=[1, 2], calibrated=calibrated)
        walls, cpus = [], []
        for _ in range(7):
            wall, cpu = time.perf_counter(), time.process_time()
            frame = sweep("llama-3.1-8b", devices, "decode", *axes, calibrated=calibrated)
            walls.append(time.perf_counter() - wall)
            cpus.append(time.process_time() - cpu)
        rate = len(frame) / float(np.median(walls)) / 1e6
        what = "calibrated" if calibrated else "ideal"
        rows.append(f"| {what} | {len(frame):,} | {rate:.2f} | {np.median(cpus):.2f} |")
    return rows


def main() -> None:
    """Measure, print and write the report."""
    head = ["# Speed of the roofline analyzer", "", "`python -m benchmarks.roofline`", ""]
    head += [f"{os.cpu_count()} cores, Python {platform.python_version()}.", ""]
    one = ["One analysis of prefill and decode, median of 2,000, every op materialized, another"]
    one += ["batch and context each call; to reach: 0.12 ms.", ""]
    one += ["| model | ops | ms | |", "|---|---|---|---|", *analyses(), ""]
    many = ["A sweep into a DataFrame, median of 7; to reach: one million points a second.", ""]
    many += ["| times | points | M points/s | CPU s |", "|---|---|---|---|", *sweeps(), ""]
    text = "\n".join([*head, *one, *many])
    print(text)
    write_text(REPORT, text)


if __name__ == "__main__":
    main()
