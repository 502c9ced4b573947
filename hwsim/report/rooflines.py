"""The products of a simulation on the roofline of their machine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hwsim.simulation.result import SimulationResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Point:
    """The same products of all layers.

    Attributes:
        module: Path, layers as ``*``.
        phase: Of their workload.
        bound: What takes the most of their clocks.
        intensity: Operations (two a multiply-accumulate) a byte that crossed the memory interface.
        ops_per_s: Operations a second, over all of their clocks.
        share: Of the whole time.
    """

    module: str
    phase: str
    bound: str
    intensity: float
    ops_per_s: float
    share: float


def points(result: SimulationResult) -> list[Point]:
    """Return the products of a simulation, those of all layers together; others have no place."""
    frame = result.to_frame()
    frame = frame[(frame["macs"] > 0) & (frame["dram_bytes"] > 0)]
    frame["module"] = frame["name"].str.replace(r"\.\d+\.", ".*.", regex=True)
    for key in ("cycles", "macs", "dram_bytes"):
        frame[key] = frame["repeats"] * frame[key]
    groups = frame.groupby(["module", "phase", "bound"], sort=False)
    sums = groups[["cycles", "macs", "dram_bytes"]].sum().reset_index()
    clock = result.accelerator.clock_hz.value
    return [
        Point(
            row["module"],
            row["phase"],
            row["bound"],
            2 * row["macs"] / row["dram_bytes"],
            2 * row["macs"] / row["cycles"] * clock,
            row["cycles"] / result.cycles,
        )
        for row in sums.to_dict("records")
    ]


COLORS = {"compute": "C0", "memory": "C1", "port": "C2", "vector": "C3", "link": "C4"}


def draw_roofline(result: SimulationResult, title: str) -> Figure:
    """Return products as points under the machine's roofline: sized by time, coloured by bound.

    Dots are of prompts, triangles of generated tokens. A product whose scores stay on the chip may
    lie far to the right.
    """
    from matplotlib.figure import Figure

    found = points(result)
    spec = result.accelerator.hardware_spec()
    peaks = {} if spec.peak_weights is None else spec.peak_weights
    bandwidth = spec.memory_bandwidth.value
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot(xscale="log", yscale="log")
    low = min([p.intensity for p in found], default=1.0) / 2
    high = max([p.intensity for p in found], default=1.0) * 2
    for value in sorted({peak.value for peak in peaks.values()}):
        names = [name for name, peak in peaks.items() if peak.value == value]
        ridge = value / bandwidth
        x = np.array([low, min(max(ridge, low), high), high])
        axes.plot(x, np.minimum(x * bandwidth, value), color="grey", linewidth=1)
        text = ", ".join(names[:4]) + (" ..." if len(names) > 4 else "")
        axes.text(high, value, text, fontsize=7, ha="right", va="bottom")
    for point in found:
        marker = "o" if point.phase == "prefill" else "^"
        size = 20 + 600 * point.share
        color = COLORS[point.bound]
        axes.scatter(
            point.intensity, point.ops_per_s, s=size, color=color, marker=marker, alpha=0.7
        )
    for name in dict.fromkeys(point.bound for point in found):
        axes.scatter([], [], color=COLORS[name], label=f"bound by {name}")
    axes.set(xlabel="operations a byte", ylabel="operations/s", title=title.replace("$", r"\$"))
    if found:
        axes.legend(fontsize=8)
    axes.grid(visible=True, alpha=0.3)
    return figure
