"""Figures of a co-design run: what is drawn is collected first, then drawn."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quant.formats.format import Format
from quant.plan import HEAD, Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from hwsim.study.result import CodesignResult

LAYER = re.compile(r"^.*?\.(\d+)\.(.+)$")
NONE = -1
"""In a map: the block has no such module."""


@dataclass(frozen=True)
class FormatMap:
    """Format of each module of each block: ``cells[module][block]`` indexes ``formats``.

    ``NONE`` stands where a block has no such module.
    """

    modules: tuple[str, ...]
    formats: tuple[str, ...]
    cells: tuple[tuple[int, ...], ...]


def format_map(plan: Plan) -> FormatMap:
    """Collect a plan's formats by module and block; layers outside of blocks are left out."""
    placed: dict[str, dict[int, Format]] = {}
    for path, spec in plan.specs.items():
        if match := LAYER.match(path):
            placed.setdefault(match[2], {})[int(match[1])] = spec.format
    used = {format_ for row in placed.values() for format_ in row.values()}
    order = sorted(used, key=lambda format_: (format_.element_bits, format_.name))
    blocks = sorted({block for row in placed.values() for block in row})
    cells = tuple(
        tuple(order.index(row[block]) if block in row else NONE for block in blocks)
        for row in placed.values()
    )
    return FormatMap(tuple(placed), tuple(format_.name for format_ in order), cells)


def draw_format_map(plan: Plan) -> Figure:
    """Return the format of each layer as a coloured map."""
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    info = format_map(plan)
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    axes = figure.add_subplot()
    colors = [colormaps["viridis"](v) for v in np.linspace(0.05, 0.95, len(info.formats))]
    top = max(1, len(info.formats) - 1)
    cells = np.ma.masked_equal(np.array(info.cells), NONE)
    axes.pcolormesh(cells, cmap=ListedColormap(colors), vmin=0, vmax=top, ec="w")
    axes.set_yticks(np.arange(len(info.modules)) + 0.5, info.modules, fontsize=7)
    head = f" (head: {plan.layers[HEAD]})" if HEAD in plan.layers else ""
    axes.set(xlabel="block", title=f"Format by layer{head}")
    handles = [Patch(color=c, label=n) for c, n in zip(colors, info.formats, strict=True)]
    axes.legend(handles=handles, fontsize=7, ncols=1, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


@dataclass(frozen=True)
class AccuracyPoint:
    """A measured choice: its cost, and ln(perplexity) above the baseline with its error."""

    name: str
    is_plan: bool
    bits: float
    time_s: float
    delta: float
    error: float


def accuracy_points(result: CodesignResult) -> list[AccuracyPoint]:
    """Collect the measured choices."""
    points = []
    for candidate in result.candidates:
        delta, error = candidate.perplexity.difference(result.baseline)
        points.append(
            AccuracyPoint(
                candidate.name,
                candidate.is_plan,
                candidate.effective_bits,
                candidate.simulation.time_s,
                delta,
                error,
            )
        )
    return points


def draw_accuracy(points: Sequence[AccuracyPoint]) -> Figure:
    """Return accuracy against bits and against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, key in zip(axes, ("bits", "time_s"), strict=True):
        for index, point in enumerate(points):
            style = {"marker": "*", "ms": 14} if point.is_plan else {"marker": "o"}
            axis.errorbar(
                getattr(point, key), point.delta, point.error, label=point.name, color=f"C{index}",
                capsize=3, ls="", **style,
            )  # fmt: skip
        uniform = sorted((getattr(p, key), p.delta) for p in points if not p.is_plan)
        axis.plot(*np.array(uniform).reshape(-1, 2).T, color="0.7", lw=1, zorder=0)
        axis.grid(visible=True, alpha=0.3)
    axes[0].set(xlabel="effective bits (block layers)", ylabel="ln(ppl) above the baseline")
    axes[1].set(xlabel="simulated time of the scenario (s)")
    axes[0].legend(fontsize=8)
    return figure
