"""Which constant could turn a comparison of two machines: ranges, and their figure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hwsim
from hwsim.exploration.axes import changed
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.area import area_um2
from hwsim.machines.solve import at_area
from quant.common.files import atomic_path
from quant.common.output import save_figure

FACTORS: Mapping[str, tuple[float, float, str]] = {
    "pe.area_um2": (0.84, 1.3, "the element's area: 1,507.7 to 1,793.7 um2 were stated for one PE"),
    "pe.step_j": (0.5, 2.0, "its energy: published, or a ratio of an abstract"),
    "pe.idle_share": (0.1, 1.0, "energy of elements without work"),
    "dram.joule_per_bit": (0.2, 1.0, "energy of the memory: 3.5 to 18.75 pJ a bit are stated"),
    "dram.bytes_per_s": (0.5, 4.0, "its bandwidth"),
    "layout.area": (1.0, 1.5, "area after layout"),
    "layout.power": (1.0, 2.0, "energy after layout"),
}
"""How far each constant of a machine may be off, and why."""


RIVAL_AREA = (
    0.8,
    1.92,
    "the rival's element: FIGNA's source has an FP16 unit of 1,029 um2, BitMoD's of 1,968.7",
)
"""How far the area of the other machine's element may be off, and why."""


def at_equal_area(name: str) -> Accelerator:
    """Return a machine with as many tiles as bring its array nearest to fp16's."""
    wanted = area_um2(hwsim.load_accelerator("fp16"))["array"]
    return at_area(hwsim.load_accelerator(name), wanted, "array")


def tornado(one: str, other: str, measure: Callable[[Accelerator], float]) -> list[dict[str, Any]]:
    """Return how a ratio of two machines moves when a constant is off, at equal array area."""
    wanted = area_um2(hwsim.load_accelerator("fp16"))["array"]
    base = measure(at_equal_area(other)) / measure(at_equal_area(one))
    rows = []
    for key, (low, high, why) in FACTORS.items():
        moved = []
        for factor in (low, high):
            machine = hwsim.load_accelerator(one)
            value = machine
            for part in key.split("."):
                value = getattr(value, part)
            shared = key.startswith("dram")  # the memory is the same one for both
            rival = hwsim.load_accelerator(other)
            changed_to = {key: value.value * factor}  # type: ignore[attr-defined]
            tried = at_area(changed(machine, changed_to), wanted, "array", 0.2)
            beside = at_area(changed(rival, changed_to) if shared else rival, wanted, "array")
            moved.append(measure(beside) / measure(tried))
        rows.append({"constant": key, "low": moved[0], "high": moved[1], "base": base, "why": why})
    moved = []
    rival = hwsim.load_accelerator(other)
    for factor in (RIVAL_AREA[0], RIVAL_AREA[1]):
        area = rival.pe.area_um2.value * factor
        beside = at_area(changed(rival, {"pe.area_um2": area}), wanted, "array", 0.2)
        moved.append(measure(beside) / measure(at_equal_area(one)))
    row = {"constant": f"pe.area_um2 of {other}", "low": moved[0], "high": moved[1], "base": base}
    rows.append(row | {"why": RIVAL_AREA[2]})
    return sorted(rows, key=lambda row: -abs(row["high"] - row["low"]))


def draw_tornado(rows: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Draw the ranges of a ratio by constant, the widest on top; the line at 1 is a tie."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(reversed(rows)):
        low, high = sorted((row["low"], row["high"]))
        axes.barh(place, high - low, left=low, color="C0")
    axes.axvline(rows[0]["base"], color="black", label="as stated")
    axes.axvline(1.0, color="C3", linestyle="--", label="a tie")
    axes.set_yticks(range(len(rows)), [row["constant"] for row in reversed(rows)])
    axes.set(xlabel=title)
    axes.legend(fontsize=8)
    with atomic_path(path) as part:
        save_figure(figure, part, "svg")
