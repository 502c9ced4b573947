"""The roofline plot: what is drawn is collected first, then drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.bounds.analysis import Analysis
from roofline.reports.tables import by_role

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class RooflineInfo:
    """Points (role, intensity op/B, speed op/s, share of time) under a roof (op/s, byte/s)."""

    points: tuple[tuple[str, float, float, float], ...]
    peaks: tuple[float, ...]
    bandwidth: float
    device: str


def roofline_info(analysis: Analysis) -> RooflineInfo:
    """Collect the roles that compute, and the roofs that they use."""
    frame = by_role(analysis)
    points = tuple(
        (str(row["role"]), row["intensity"], row["ops"] / row["time_s"], row["share"])
        for row in frame.to_dict("records")
        if row["ops"] > 0
    )
    peaks = tuple(sorted({entry.peak for entry in analysis.ops if entry.op.ops}))
    bandwidth = analysis.hardware.memory_bandwidth.value
    return RooflineInfo(points, peaks, bandwidth, analysis.hardware.name)


def draw_roofline(analysis: Analysis) -> Figure:
    """Return the roofline with every role on it; the area of a point is its share of time."""
    from matplotlib.figure import Figure

    info = roofline_info(analysis)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    low = min(point[1] for point in info.points) / 2
    high = max(*(point[1] for point in info.points), *(p / info.bandwidth for p in info.peaks)) * 2
    span = np.geomspace(low, high, 200)
    for peak in info.peaks:
        axes.plot(span, np.minimum(span * info.bandwidth, peak), color="0.6", lw=1)
        axes.annotate(f"{peak / 1e12:.3g} Top/s", (high, peak), ha="right", va="bottom", fontsize=7)
    for index, (role, intensity, speed, share) in enumerate(info.points):
        size = 20 + 600 * share
        label = f"{role.removeprefix('model.layers.*.')} ({share:.0%})"
        axes.scatter(intensity, speed, s=size, color=f"C{index % 10}", alpha=0.7, label=label)
    axes.set(xscale="log", yscale="log", title=f"Roofline: {info.device}".replace("$", r"\$"))
    axes.set(xlabel="arithmetic intensity (op/byte)", ylabel="speed bound (op/s)")
    axes.legend(fontsize=6, loc="lower right", markerscale=0.5)
    axes.grid(visible=True, which="both", alpha=0.2)
    return figure
