"""The report of a sweep: the designs that no other beats, and how many others there were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hwsim.exploration.axes import WEIGHTS
from hwsim.exploration.sweep import NO_MACHINE, Sweep
from quant.common.output import Report
from quant.common.tables import Table, number, table_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MOST_ROWS = 40
"""Designs of the front that a table shows."""
MOST_POINTS = 20_000
"""Designs that a figure draws."""


def designs_report(found: Sweep, request: Mapping[str, Any]) -> Report:
    """Return the report of ``sweep`` (``hwsim.sweep/1``).

    Args:
        found: What it found.
        request: What was asked: model, prompt, generate, batch.
    """
    title = f"{request['model']}, prompt {request['prompt']}, generate {request['generate']}, "
    title += f"batch {request['batch']}"
    front = found.front()
    facts = {
        "designs": found.designs,
        "misfits": dict(found.misfits),
        "limits": dict(found.limited),
    }
    facts["objectives"] = list(found.objectives)

    def tables() -> list[Table]:
        rows = [
            {str(k): number(v) if isinstance(v, float) else v for k, v in row.items()}
            for row in front.head(MOST_ROWS).to_dict("records")
        ]
        return [table_of(rows, f"{title}: the Pareto front", notes_of(found))]

    return Report(
        title,
        "hwsim.sweep/1",
        lambda: {**request, **facts, "front": front.to_dict("records")},
        tables,
        found.to_frame,
        lambda: draw_designs(designs_info(found.to_frame()), title),
    )


def notes_of(found: Sweep) -> list[str]:
    """Return what a reader of the front must know."""
    notes = [f"{len(found.front())} of {found.designs} designs: {', '.join(found.objectives)}"]
    for name, count in found.misfits.items():
        if count and name == NO_MACHINE:
            notes.append(f"{count} designs left out: their values make no machine together")
        elif count:
            notes.append(f"{count} designs left out: the {name} does not hold a part of some op")
    notes += [f"{count} designs left out: {said}" for said, count in found.limited.items()]
    if len(found.front()) > MOST_ROWS:
        notes.append(f"the first {MOST_ROWS} are shown (csv and parquet have all designs)")
    if found.folder is not None:
        notes.append(f"all designs: {found.folder}")
    return notes


@dataclass(frozen=True)
class DesignsInfo:
    """Designs as points of seconds and joules, sized by area; and which are on the front.

    Attributes:
        points: Seconds, joules, um2 and whether it is on the front, of each design.
        formats: The weight format of each design.
    """

    points: tuple[tuple[float, float, float, bool], ...]
    formats: tuple[str, ...]


def designs_info(frame: pd.DataFrame) -> DesignsInfo:
    """Collect the points of a sweep, at most ``MOST_POINTS``: the front, and every so many."""
    if len(frame) > MOST_POINTS:
        step = len(frame) // MOST_POINTS + 1
        frame = frame[frame["pareto"] | (frame.index % step == 0)]
    rows = frame.to_dict("records")
    points = tuple(
        (float(r["time_s"]), float(r["energy_j"]), float(r["area_um2"]), bool(r["pareto"]))
        for r in rows
    )
    return DesignsInfo(points, tuple(str(row.get(WEIGHTS, "the machine's")) for row in rows))


def draw_designs(info: DesignsInfo, title: str) -> Figure:
    """Return energy over time: a colour a format, the size is the area, the front is ringed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    largest = max((point[2] for point in info.points), default=1.0)
    for index, name in enumerate(dict.fromkeys(info.formats)):
        own = [p for p, text in zip(info.points, info.formats, strict=True) if text == name]
        axes.scatter(
            [p[0] for p in own],
            [p[1] for p in own],
            s=[20 + 200 * p[2] / largest for p in own],
            color=f"C{index}",
            edgecolors="black",
            linewidths=[1.5 if p[3] else 0.0 for p in own],
            alpha=0.7,
            label=name.replace("$", r"\$"),
        )
    axes.set(xlabel="time (s)", ylabel="energy (J)", title=title.replace("$", r"\$"))
    if not info.points:
        axes.text(0.5, 0.5, "no design is left", ha="center", transform=axes.transAxes)
        return figure
    axes.legend(fontsize=8, title="weights; size: area, ring: Pareto front", title_fontsize=8)
    axes.grid(visible=True, alpha=0.3)
    return figure
