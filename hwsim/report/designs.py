"""The report of an exploration: every design, and those that no other beats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quant.common.output import Report
from quant.common.tables import Table, table_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


def designs_report(frame: pd.DataFrame, request: Mapping[str, Any]) -> Report:
    """Return the report of ``explore`` (``hwsim.explore/1``).

    Args:
        frame: One row a design.
        request: What was asked: model, prompt, generate, batch.
    """
    title = f"{request['model']}, prompt {request['prompt']}, generate {request['generate']}, "
    title += f"batch {request['batch']}"

    def tables() -> list[Table]:
        rows = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
        return [table_of(rows, title)]

    return Report(
        title,
        "hwsim.explore/1",
        lambda: {**request, "designs": frame.to_dict("records")},
        tables,
        lambda: frame,
        lambda: draw_designs(designs_info(frame), title),
    )


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
    """Collect the points of an exploration."""
    rows = frame.to_dict("records")
    points = tuple(
        (float(r["time_s"]), float(r["energy_j"]), float(r["area_um2"]), bool(r["pareto"]))
        for r in rows
    )
    return DesignsInfo(points, tuple(str(row["format"]) or "the machine's" for row in rows))


def draw_designs(info: DesignsInfo, title: str) -> Figure:
    """Return energy over time: a colour a format, the size is the area, the front is ringed."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    largest = max(point[2] for point in info.points)
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
    axes.legend(fontsize=8, title="weights; size: area, ring: Pareto front", title_fontsize=8)
    axes.grid(visible=True, alpha=0.3)
    return figure
