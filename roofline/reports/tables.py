"""Reports of an analysis: table, Markdown, JSON (``roofline.report/1``), CSV."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from quant.common.cli import to_json
from roofline.bounds.analysis import BOUNDS, Analysis, rows
from roofline.bounds.limits import LARGEST, limits

if TYPE_CHECKING:
    import pandas as pd

WIDTH = 80
"""Columns of the table: what a terminal surely has."""
COLUMNS = ("module", "n", "Gop", "MB", "op/B", "bound", "us", "share")
_SHORT = {"compute": "comp", "memory": "mem", "link": "link"}
_LETTERS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def to_report_json(analysis: Analysis, request: dict[str, Any]) -> str:
    """Return the JSON report; SI units, raw numbers."""
    memory, most = analysis.memory, limits(analysis.parts[0].work, analysis.hardware)
    sizes = {"weights": memory.weights, "kv_cache": memory.kv_cache}
    sizes |= {"activations": memory.activations, "total": memory.total}
    content: dict[str, Any] = {
        **request,
        "hardware": analysis.hardware.name,
        "time_s": analysis.time_s,
        "ideal_s": analysis.ideal_s,
        "memory_bytes": sizes,
        "memory_capacity_bytes": _finite(analysis.hardware.memory_capacity.value),
        "fits": analysis.fits,
        "largest": {"batch": most.batch, "context": most.context},
        "bound_share": analysis.bound_share(),
    }
    if analysis.calibration is not None:
        content["expected_error"] = analysis.expected_error
        content["borrowed"] = analysis.calibration.borrowed
    return to_json("roofline.report/1", {**content, "ops": rows(analysis)})


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def by_role(analysis: Analysis) -> pd.DataFrame:
    """Return one row a role (the same module of all layers): summed work, bytes and time."""
    frame = analysis.to_frame()
    frame["role"] = [role_of(str(name)) for name in frame["name"]]
    for key in ("ops", "bytes", "time_s"):
        frame[key] = frame[key] * frame["count"]
    grouped = frame.groupby("role", sort=False)
    out = grouped.agg(
        op=("op", "first"),
        count=("count", "sum"),
        ops=("ops", "sum"),
        bytes=("bytes", "sum"),
        bound=("bound", lambda bounds: "/".join(b for b in BOUNDS if b in set(bounds))),
        time_s=("time_s", "sum"),
    )
    out["intensity"] = out["ops"] / out["bytes"].where(out["bytes"] > 0)
    out["share"] = out["time_s"] / (analysis.time_s or 1.0)
    return out.reset_index()


def role_of(name: str) -> str:
    """Return a module path with ``*`` for the layer's index."""
    return re.sub(r"\.\d+(?=\.)", ".*", name)


def _cells(analysis: Analysis) -> Iterator[tuple[str, ...]]:
    """Yield the table's rows as text."""
    for row in by_role(analysis).to_dict("records"):
        bound = "/".join(_SHORT[b] for b in row["bound"].split("/"))
        yield (
            str(row["role"]),
            f"{row['count']:g}",
            f"{row['ops'] / 1e9:.3g}",
            f"{row['bytes'] / 1e6:.4g}",
            f"{row['intensity']:.3g}" if row["bytes"] else "-",
            bound,
            f"{row['time_s'] * 1e6:.4g}",
            f"{row['share']:.1%}",
        )


def to_table(analysis: Analysis, title: str) -> str:
    """Return a table for people, 80 columns wide: one row a role, and the totals."""
    from rich import box
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(title), box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name in COLUMNS:
        left = name in {"module", "bound"}
        table.add_column(name, justify="left" if left else "right", no_wrap=True)
    for cells in _cells(analysis):
        table.add_row(escape(_shorten(cells[0])), *cells[1:])
    out = io.StringIO()
    Console(file=out, width=WIDTH).print(table)
    return out.getvalue() + "\n".join(summary(analysis)) + "\n"


def _shorten(role: str, longest: int = 32) -> str:
    """Drop the leading part that all layers share, and the middle of what is still too long."""
    short = re.sub(r"^.*\.\*\.", "*.", role)
    return short if len(short) <= longest else f"{short[:12]}..{short[14 - longest :]}"


def to_markdown(analysis: Analysis, title: str) -> str:
    """Return the table and the totals as Markdown."""
    lines = [f"# {_plain(title)}", "", "| " + " | ".join(COLUMNS) + " |"]
    lines.append("|" + "|".join("---" for _ in COLUMNS) + "|")
    lines += [
        "| " + " | ".join(_plain(cell) for cell in cells) + " |" for cells in _cells(analysis)
    ]
    return "\n".join([*lines, "", *(f"- {_plain(line)}" for line in summary(analysis))]) + "\n"


def _plain(text: str) -> str:
    """Escape what Markdown or HTML would take for its own."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|*_`\[\]])", r"\\\1", text)


def summary(analysis: Analysis) -> list[str]:
    """Return the totals in words: time and its expected error, bounds, memory and what fits."""
    found = analysis.bound_share().items()
    shares = ", ".join(f"{name} bound {share:.0%}" for name, share in found)
    lines = [f"time at least {analysis.ideal_s * 1e3:.4g} ms; {shares}"]
    if analysis.calibration is not None:
        lines[0] = f"time {analysis.time_s * 1e3:.4g} ms expected (at least "
        lines[0] += f"{analysis.ideal_s * 1e3:.4g} ms); {shares}"
        lines.append(f"expected error {analysis.expected_error:.0%}: median of measured kernels")
        donors = sorted(set(analysis.calibration.borrowed.values()))
        if donors:
            lines.append(f"kernels without measurements here are borrowed from {', '.join(donors)}")
    return lines + _memory_lines(analysis)


def _memory_lines(analysis: Analysis) -> list[str]:
    memory, capacity = analysis.memory, analysis.hardware.memory_capacity.value
    fits = "fits in" if analysis.fits else "DOES NOT FIT in"
    work = analysis.parts[0].work
    most = limits(work, analysis.hardware)
    batch, context = ("any" if n >= LARGEST else _count(n) for n in (most.batch, most.context))
    return [
        f"memory: weights {memory.weights / 1e9:.4g} GB, KV cache {memory.kv_cache / 1e9:.4g} GB, "
        f"activations {memory.activations / 1e9:.4g} GB",
        f"memory: {memory.total / 1e9:.4g} GB {fits} {capacity / 1e9:.4g} GB",
        f"largest batch at this context {batch}, largest context at this batch {context}",
    ]


def _count(number: int) -> str:
    """Return a count, exact below a million."""
    if number < 1_000_000:
        return f"{number:,}"
    scale, letter = next((s, letter) for s, letter in _LETTERS if number >= s)
    return f"{number / scale:.3g} {letter}"
