"""Reports of an analysis: table, JSON (``roofline.report/1``), CSV."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from quant.common.cli import to_json
from roofline.analysis import Analysis, rows

if TYPE_CHECKING:
    import pandas as pd


def to_report_json(analysis: Analysis, request: dict[str, Any]) -> str:
    """Return the JSON report; SI units, raw numbers."""
    memory = analysis.memory
    sizes = {"weights": memory.weights, "kv_cache": memory.kv_cache}
    sizes |= {"activations": memory.activations, "total": memory.total}
    content = {
        **request,
        "hardware": analysis.hardware.name,
        "time_s": analysis.time_s,
        "memory_bytes": sizes,
        "fits": analysis.fits,
        "bound_share": analysis.bound_share(),
        "ops": rows(analysis),
    }
    return to_json("roofline.report/1", content)


def by_role(analysis: Analysis) -> pd.DataFrame:
    """Return one row a role (the same module of all layers): summed work, bytes and time."""
    frame = analysis.to_frame()
    frame["role"] = [re.sub(r"\.\d+\.", ".*.", str(name)) for name in frame["name"]]
    for key in ("ops", "bytes", "time_s"):
        frame[key] = frame[key] * frame["count"]
    grouped = frame.groupby("role", sort=False)
    out = grouped.agg(
        op=("op", "first"),
        count=("count", "sum"),
        ops=("ops", "sum"),
        bytes=("bytes", "sum"),
        bound=("bound", lambda bounds: "/".join(sorted(set(bounds)))),
        time_s=("time_s", "sum"),
    )
    out["intensity"] = out["ops"] / out["bytes"]
    out["share"] = out["time_s"] / analysis.time_s
    return out.reset_index()


def to_table(analysis: Analysis, title: str) -> str:
    """Return a table for people: one row a role, and the totals."""
    from rich.console import Console
    from rich.table import Table

    table = Table("module", "op", "count", "Gop", "MB", "op/B", "bound", "us", "share", title=title)
    for row in by_role(analysis).to_dict("records"):
        table.add_row(
            row["role"],
            row["op"],
            str(row["count"]),
            f"{row['ops'] / 1e9:.4g}",
            f"{row['bytes'] / 1e6:.4g}",
            f"{row['intensity']:.3g}",
            row["bound"],
            f"{row['time_s'] * 1e6:.4g}",
            f"{row['share']:.1%}",
        )
    out = io.StringIO()
    Console(file=out, width=120).print(table)
    memory, shares = analysis.memory, analysis.bound_share()
    fits = "fits" if analysis.fits else "DOES NOT FIT"
    out.write(
        f"time at least {analysis.time_s * 1e3:.4g} ms; memory bound {shares['memory']:.0%}, "
        f"compute bound {shares['compute']:.0%} of it\n"
        f"memory: weights {memory.weights / 1e9:.4g} GB, KV cache {memory.kv_cache / 1e9:.4g} GB, "
        f"activations {memory.activations / 1e9:.4g} GB: {fits} in "
        f"{analysis.hardware.memory_capacity.value / 1e9:.4g} GB\n"
    )
    return out.getvalue()
