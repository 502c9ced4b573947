"""The report of a comparison: a row a machine and model, and bars."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quant.common.output import Report
from quant.common.tables import Table, number, table_of

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SCHEMA = "hwsim.compare/1"
SHOWN = {
    "prefill_s": ("prefill ms", 1e3),
    "token_s": ("token ms", 1e3),
    "joule_per_token": ("mJ/token", 1e3),
    "power_w": ("W", 1.0),
    "area_um2": ("mm2", 1e-6),
    "utilisation": ("used", 1.0),
    "speedup": ("speed-up", 1.0),
    "energy_ratio": ("energy ratio", 1.0),
}
"""The columns of numbers, as the table names them, and their units' factor."""


def compare_report(frame: pd.DataFrame, request: Mapping[str, Any]) -> Report:
    """Return the report of ``compare`` (``hwsim.compare/1``)."""
    first = request["accelerators"][0]
    title = f"prompt {request['prompt']}, generate {request['generate']}, batch {request['batch']}"
    said = {
        "none": "as they are",
        "area": f"at {first}'s area",
        "array": f"at {first}'s array area",
    }
    title = f"Machines {said[request['iso']]}, {title}"
    rows = [{str(key): value for key, value in row.items()} for row in frame.to_dict("records")]

    def tables() -> list[Table]:
        return [table_of([_shown(row) for row in rows], title, _notes(rows, first))]

    return Report(
        title,
        SCHEMA,
        lambda: {**request, "rows": rows},
        tables,
        lambda: frame,
        lambda: draw_comparison(frame, title),
    )


def _shown(row: Mapping[str, Any]) -> dict[str, object]:
    words = {key: row[key] for key in ("model", "machine", "tiles", "weights")}
    numbers = {
        name: number(row[key] * factor) if row[key] is not None else "-"
        for key, (name, factor) in SHOWN.items()
    }
    return words | numbers


def _notes(rows: list[dict[str, Any]], first: str) -> list[str]:
    """What a reader of the table must know."""
    notes = [f"speed-up and energy ratio: {first}'s over the machine's, prompt and tokens together"]
    small = sorted({f"{row['model']} on {row['machine']}" for row in rows if row["fits"] is False})
    if small:
        notes.append(f"does not fit the memory: {', '.join(small)}")
    if any(row["fits"] is None for row in rows):
        notes.append("whether a model fits is not known where a memory's size is not stated")
    return notes


def draw_comparison(frame: pd.DataFrame, title: str) -> Figure:
    """Return speed-ups and energy ratios as bars: a group a model, a colour a machine."""
    from matplotlib.figure import Figure

    machines, models = list(dict.fromkeys(frame["machine"])), list(dict.fromkeys(frame["model"]))
    figure = Figure(figsize=(max(6, 1.5 * len(models) + 3), 6), layout="constrained")
    width = 0.8 / len(machines)
    for axes, key in zip(figure.subplots(2, 1), ("speedup", "energy_ratio"), strict=True):
        for index, machine in enumerate(machines):
            values = frame[frame["machine"] == machine][key].to_numpy()
            places = [
                group + (index - (len(machines) - 1) / 2) * width for group in range(len(values))
            ]
            bars = axes.bar(places, values, width, label=machine)
            axes.bar_label(bars, fmt="%.2f", fontsize=7)
        axes.set_xticks(range(len(models)), models)
        axes.set_ylabel(SHOWN[key][0])
        axes.margins(y=0.15)
        axes.grid(visible=True, axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle(title.replace("$", r"\$"), fontsize=10)
    return figure
