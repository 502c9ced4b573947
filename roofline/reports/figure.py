"""Figures of analyses, sweeps and comparisons: what is drawn is collected first, then drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roofline.bounds.analysis import Analysis
from roofline.reports.roles import by_role

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SWEPT = ("batch", "context", "hardware", "weights", "kv", "activations", "tp")
"""Columns of a sweep that are its axes."""
COUNTED = ("batch", "context", "tp")
"""Those whose values say nothing without their name."""
MOST_LABELS = 20
"""Lines up to which a legend is drawn."""


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
    axes.set(xscale="log", yscale="log", title=_literal(f"Roofline: {info.device}"))
    axes.set(xlabel="arithmetic intensity (op/byte)", ylabel="speed bound (op/s)")
    axes.legend(fontsize=6, loc="lower right", markerscale=0.5)
    axes.grid(visible=True, which="both", alpha=0.2)
    return figure


@dataclass(frozen=True)
class SweepInfo:
    """Lines (label, places on ``axis``, seconds) over the axis with the most values."""

    axis: str
    lines: tuple[tuple[str, tuple[float, ...], tuple[float, ...]], ...]


def sweep_info(frame: pd.DataFrame) -> SweepInfo:
    """Collect a line for every combination of the other axes; a label says what differs."""
    counts = {axis: frame[axis].nunique() for axis in SWEPT}
    axis = max(("batch", "context"), key=lambda name: counts[name])
    others = [name for name in SWEPT if name != axis and counts[name] > 1]
    lines: dict[str, tuple[list[float], list[float]]] = {}
    for row in frame.to_dict("records"):
        label = ", ".join(
            f"{name} {row[name]}" if name in COUNTED else str(row[name]) for name in others
        )
        places, seconds = lines.setdefault(label, ([], []))
        places.append(float(row[axis]))
        seconds.append(float(row["time_s"]))
    return SweepInfo(axis, tuple((label, tuple(x), tuple(y)) for label, (x, y) in lines.items()))


def draw_sweep(frame: pd.DataFrame) -> Figure:
    """Return seconds over batch or context, a line for every combination of the other axes."""
    from matplotlib.figure import Figure

    info = sweep_info(frame)
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    for label, places, seconds in info.lines:
        axes.plot(places, seconds, marker=".", lw=1, label=_literal(label))
    axes.set(xscale="log", yscale="log", xlabel=info.axis, ylabel="time (s)")
    axes.set(title=_literal(f"{frame['model'].iloc[0]}, {frame['phase'].iloc[0]}"))
    if 1 < len(info.lines) <= MOST_LABELS:
        axes.legend(fontsize=7)
    axes.grid(visible=True, which="both", alpha=0.2)
    return figure


def draw_comparison(frame: pd.DataFrame, title: str) -> Figure:
    """Return a bar of seconds for every device and format, coloured by whether it fits."""
    from matplotlib.figure import Figure

    labels = [f"{row['hardware']}\n{row['weights']}" for row in frame.to_dict("records")]
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(labels)), layout="constrained")
    axes = figure.add_subplot()
    colors = ["C0" if fits else "0.7" for fits in frame["fits"]]
    axes.barh(range(len(labels)), frame["time_s"], color=colors)
    axes.set_yticks(range(len(labels)), [_literal(label) for label in labels], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="time (s); grey: does not fit the memory", title=_literal(title))
    return figure


def _literal(text: str) -> str:
    """Return text in which matplotlib finds no mathematics."""
    return text.replace("$", r"\$")
