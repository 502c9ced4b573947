"""Devices and formats side by side."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from roofline.bounds.analysis import analyze
from roofline.bounds.limits import limits
from roofline.calibration.laws import load_calibration
from roofline.devices.device import load_hardware
from roofline.workloads.workload import Model, Phase, workload

if TYPE_CHECKING:
    import pandas as pd


def compare_frame(
    model: Model,
    hardware: Sequence[str],
    phase: Phase,
    batch: int,
    context: int,
    weights: Sequence[str],
    calibrated: bool = False,
) -> pd.DataFrame:
    """Return one row a device and format; ``speedup`` is over the first row.

    Raises:
        RequestError: as ``workload`` and ``load_hardware``.
    """
    import pandas as pd

    rows = []
    for device in hardware:
        spec = load_hardware(device)
        law = load_calibration(spec) if calibrated else None
        for text in weights:
            work = workload(model, phase, batch, context, weights=text)
            analysis = analyze(work, spec, law)
            rows.append(
                {
                    "hardware": spec.name,
                    "weights": text,
                    "time_s": analysis.time_s,
                    "memory_share": analysis.bound_share()["memory"],
                    "memory_bytes": analysis.memory.total,
                    "fits": analysis.fits,
                    "largest_batch": limits(work, spec).batch,
                }
            )
    frame = pd.DataFrame(rows)
    frame.insert(3, "speedup", frame["time_s"].iloc[0] / frame["time_s"])
    return frame


def to_compare_table(frame: pd.DataFrame, title: str) -> str:
    """Return the rows as a table for people, 80 columns wide."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE_HEAD, pad_edge=False)
    names = ("hardware", "weights", "ms", "speedup", "mem bound", "GB", "fits", "max batch")
    for name in names:
        table.add_column(name, justify="left" if name in {"hardware", "weights"} else "right")
    for row in frame.to_dict("records"):
        table.add_row(
            escape(str(row["hardware"])),
            escape(str(row["weights"])),
            f"{row['time_s'] * 1e3:.4g}",
            f"{row['speedup']:.2f}",
            f"{row['memory_share']:.0%}",
            f"{row['memory_bytes'] / 1e9:.4g}",
            "yes" if row["fits"] else "NO",
            f"{row['largest_batch']:,}",
        )
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    return out.getvalue()
