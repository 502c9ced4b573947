"""The report of a machine: every number with its source, area by part; its blocks as a figure."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.area import area_um2, leakage_w
from hwsim.machines.macros import macro_error, macros
from hwsim.machines.parts import Memory
from hwsim.machines.process import nodes_source, scaled_said
from hwsim.machines.sram import sram_table
from quant.common.output import Report
from quant.common.sourced import Sourced
from quant.common.tables import Table, number, table_of
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA = "hwsim.show/1"


def machine_report(machine: Accelerator) -> Report:
    """Return the report of a machine (``hwsim.show/1``)."""
    rows = list(numbers(machine, ""))
    area, leakage = area_um2(machine), leakage_w(machine)
    parts = [
        {"part": part, "area_um2": area[part], "share": area[part] / area["total"], "leakage_w": w}
        for part, w in leakage.items()
    ]
    notes = tuple(map(memory_said, sorted({buffer.memory for buffer in machine.buffers})))
    if machine.process is not None:
        notes += (f"node and supply: {nodes_source()}; those of buffers are stated for 28 nm",)
        notes += (scaled,) if (scaled := scaled_said(machine.process)) else ()

    def tables() -> list[Table]:
        shown = [{k: number(v) if isinstance(v, float) else v for k, v in p.items()} for p in parts]
        return [table_of(rows, machine.name), table_of(shown, "area and leakage", notes)]

    content = {"machine": machine.name, "numbers": rows, "area": parts, "notes": list(notes)}

    def frame() -> Any:  # noqa: ANN401  a DataFrame
        import pandas as pd

        # A column has one type: numbers, and the words of what is none.
        words = [str(row["value"]) for row in rows]
        values = [v if isinstance(v := row["value"], int | float) else np.nan for row in rows]
        return pd.DataFrame(rows).assign(value=np.array(values, float), text=words)

    return Report(machine.name, SCHEMA, lambda: content, tables, frame, lambda: draw(machine))


def memory_said(memory: Memory) -> str:
    """Return where the numbers of a kind of buffer come from, and how far off they may be."""
    own = memory == "sg13g2"
    source, errors = (macros(), macro_error()) if own else (sram_table(), sram_table().error)
    error = ", ".join(f"{name} {share:.0%}" for name, share in errors.items())
    where = "scaled to 28 nm; of its macros" if own else "between its points"
    return f"buffers: {source.source}; {where} within {error}"


def numbers(part: Any, before: str) -> Iterator[dict[str, object]]:  # noqa: ANN401  any part
    """Yield the numbers and words of a part: key, value, source."""
    for field in dataclasses.fields(part):
        value, key = getattr(part, field.name), f"{before}{field.name}"
        if isinstance(value, Sourced):
            yield {"key": key, "value": value.value, "source": value.source}
        elif isinstance(value, tuple):
            yield {"key": key, "value": len(value), "source": " ".join(map(str, value))}
        elif isinstance(value, FormatSpec | ScaleKind) or not dataclasses.is_dataclass(value):
            if value is not None:
                yield {"key": key, "value": _plain(value), "source": ""}
        else:
            yield from numbers(value, f"{key}.")


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str) else str(value)


BLUE, GREEN, ORANGE, GREY = "#dbe9f6", "#e2f0d9", "#fbe5d6", "#eeeeee"


def draw(machine: Accelerator) -> Figure:
    """Return a block diagram: memory, buffers with their ports, tiles, vector unit."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set(xlim=(0, 10), ylim=(0, 6), title=machine.name)
    axes.axis("off")
    dram, tiles, pe, vector = machine.dram, machine.tiles, machine.pe, machine.vector
    area = {part: um2 / 1e6 for part, um2 in area_um2(machine).items()}
    name = f"{dram.channels} x {dram.name}" if dram.name else "DRAM"
    _box(axes, (0.2, 2, 1.6, 2), f"{name}\n{dram.bytes_per_s.value / 1e9:.4g} GB/s", GREY)
    for y, key, buffer in (
        (4, "weights", machine.weight_buffer),
        (1, "activations", machine.activation_buffer),
    ):
        size = f"{buffer.bytes / 1024:.4g} KiB, {buffer.banks} banks"
        _box(axes, (2.8, y, 2.2, 1.2), f"{key}\n{size}", BLUE)
        _arrow(axes, (1.8, 3), (2.8, y + 0.6), "")
        _arrow(axes, (5, y + 0.6), (6, 3.2), f"{buffer.port_bits} b")
    text = (
        f"{tiles.count} tiles of {tiles.rows} x {tiles.columns}\n{machine.kind}, {pe.lanes} lanes"
    )
    _box(axes, (6, 2.2, 2.6, 2), f"{text}\n{area['array']:.3g} mm2", GREEN)
    _box(axes, (6, 0.3, 2.6, 1.1), f"vector unit\n{vector.lanes} lanes", ORANGE)
    _arrow(axes, (7.3, 2.2), (7.3, 1.4), "")
    if machine.links is not None:
        _box(axes, (9, 2.2, 0.9, 2), "links", GREY)
    clock = f"{machine.clock_hz.value / 1e9:.4g} GHz"
    axes.text(0.2, 0.3, f"{area['total']:.4g} mm2, {clock}", fontsize=9)
    return figure


def _box(axes: Axes, place: tuple[float, float, float, float], text: str, color: str) -> None:
    from matplotlib.patches import Rectangle

    x, y, width, height = place
    axes.add_patch(Rectangle((x, y), width, height, facecolor=color, edgecolor="black"))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", fontsize=9)


def _arrow(axes: Axes, tail: tuple[float, float], head: tuple[float, float], text: str) -> None:
    axes.annotate("", head, tail, arrowprops={"arrowstyle": "<->"})
    middle = (tail[0] + head[0]) / 2, (tail[1] + head[1]) / 2 + 0.15
    axes.text(*middle, text, fontsize=8, ha="center")
