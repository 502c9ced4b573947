"""The report of a reproduction: every published number beside ours, and the figures redrawn."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING, Any, get_args

from hwsim.compat.bitmod_hpca25 import QUIRKS, Cost, Phase, Version, cost, facts
from quant.common.output import Report
from quant.common.tables import Table, table_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCHEMA = "hwsim.reproduce/1"
BASE = "fp16"
TASKS = {"discriminative": 0, "generative": 20}
"""Steps after the prompt."""
CLAIMS = {"ant": 1.69, "olive": 1.48}
"""Speed-ups of the abstract, of lossy BitMoD over its rivals."""


@dataclass(frozen=True)
class Reproduction:
    """Costs by model, machine and phase, and what follows from them."""

    version: Version
    costs: dict[tuple[str, str, Phase], Cost]

    def cycles(self, model: str, machine: str, task: str) -> int:
        """Cycles of a task: a prompt, and its steps."""
        prompt, step = (self.costs[model, machine, phase] for phase in get_args(Phase))
        return prompt.cycles + TASKS[task] * step.cycles

    def speedup(self, machine: str, task: str) -> list[float]:
        """Over FP16, model by model."""
        known = facts()
        return [
            self.cycles(model, BASE, task) / self.cycles(model, machine, task)
            for model in known.models
        ]

    def over(self, rival: str, task: str) -> float:
        """Of lossy BitMoD over a rival: the ratio of their mean speed-ups over FP16."""
        return mean(self.speedup("bitmod-lossy", task)) / mean(self.speedup(rival, task))

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One row a model, machine and phase, the published numbers beside ours."""
        rows = []
        for (model, machine, phase), found in self.costs.items():
            row: dict[str, Any] = {"model": model, "machine": machine, "phase": phase}
            row |= {"cycles": found.cycles, "compute_cycles": found.compute_cycles}
            row |= {"onchip_uj": found.onchip_uj, "total_uj": found.total_uj}
            if self.version == "paper":
                index, plotted = facts().models.index(model), facts().published[machine]
                chip, total = getattr(plotted, f"{phase}_energy_uj")[index]
                row |= {"published_cycles": getattr(plotted, phase)[index]}
                row |= {"published_onchip_uj": chip, "published_total_uj": total}
            rows.append(row)
        return rows

    @property
    def differences(self) -> tuple[int, float]:
        """Cycle counts that differ from the plotted ones, and the largest error in uJ."""
        rows = self.rows
        differ = sum(row["cycles"] != row["published_cycles"] for row in rows)
        errors = [
            abs(row[f"{part}_uj"] - row[f"published_{part}_uj"])
            for row in rows
            for part in ("onchip", "total")
        ]
        return differ, max(errors)


def reproduce(version: Version = "paper") -> Reproduction:
    """Run the simulator of BitMoD's paper on its six models and five machines.

    Args:
        version: ``paper``, whose numbers are the published figures', or ``head``, a later one.

    Raises:
        RequestError: another version.
    """
    known = facts()
    costs = {
        (model, machine, phase): cost(model, machine, phase, version)
        for machine in known.machines
        for model in known.models
        for phase in get_args(Phase)
    }
    return Reproduction(version, costs)


def reproduction_report(found: Reproduction) -> Report:
    """Return the report of a reproduction (``hwsim.reproduce/1``)."""
    title = f"BitMoD (HPCA 2025), its simulator's version {found.version!r}"
    claims = [
        {
            "rival": rival,
            **{task: round(found.over(rival, task), 3) for task in TASKS},
            "mean": round(mean(found.over(rival, task) for task in TASKS), 3),
            "claimed": claim,
        }
        for rival, claim in CLAIMS.items()
    ]
    notes = [f"{name}: {text}" for name, text in QUIRKS.items()]
    if found.version == "paper":
        differ, error = found.differences
        said = f"{len(found.rows)} cycle counts, {differ} differ from the plotted ones; "
        notes.insert(0, f"{said}energies differ by {error:.2f} uJ at most.")

    def tables() -> list[Table]:
        rows = [{name: _short(value) for name, value in row.items()} for row in found.rows]
        return [
            table_of(claims, "Lossy BitMoD over its rivals: mean speed-ups over FP16, divided"),
            table_of(rows, title, notes),
        ]

    content = {"version": found.version, "claims": claims, "rows": found.rows, "quirks": QUIRKS}
    import pandas as pd

    return Report(
        title, SCHEMA, lambda: content, tables, lambda: pd.DataFrame(found.rows),
        lambda: draw_speedups(found, title),
    )  # fmt: skip


def _short(value: object) -> object:
    return round(value) if isinstance(value, float) else value


def draw_speedups(found: Reproduction, title: str) -> Figure:
    """Return the speed-ups over FP16 as the paper plots them: a group of bars a model."""
    from matplotlib.figure import Figure

    known = facts()
    figure = Figure(figsize=(10, 6), layout="constrained")
    for axes, task in zip(figure.subplots(len(TASKS), 1), TASKS, strict=True):
        for index, machine in enumerate(known.machines):
            bars = found.speedup(machine, task)
            bars.append(mean(bars))
            places = [group + (index - 2) * 0.16 for group in range(len(bars))]
            drawn = axes.bar(places, bars, 0.15, label=machine, color=f"C{index}")
            axes.bar_label(drawn, fmt="%.2f", fontsize=6, rotation=90, padding=2)
        axes.set_xticks(range(len(known.models) + 1), [*known.models, "arithmetic mean"])
        axes.set(ylabel="speed-up over fp16", title=f"{task} task")
        axes.margins(y=0.2)
        axes.grid(visible=True, axis="y", alpha=0.3)
        axes.set_axisbelow(True)
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, ncols=len(names), fontsize=8, loc="outside lower center")
    figure.suptitle(title, fontsize=10)
    return figure
