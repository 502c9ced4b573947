"""The table of an analysis: one row a role, and the totals in words."""

from __future__ import annotations

from collections.abc import Sequence

from quant.common.tables import Table, number, table_of
from roofline.bounds.analysis import Analysis
from roofline.bounds.limits import LARGEST, limits
from roofline.reports.roles import by_role

_LETTERS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def role_table(analysis: Analysis, title: str, notes: Sequence[str] = ()) -> Table:
    """Return the table for people: one row a role, the totals, and what else is to be said."""
    lines = [
        {
            "module": str(row["role"]),
            "n": f"{row['count']:g}",
            "Gop": number(row["ops"] / 1e9, 3),
            "MB": number(row["bytes"] / 1e6),
            "op/B": number(row["intensity"], 3) if row["bytes"] else "-",
            "bound": row["bound"],
            "us": number(row["time_s"] * 1e6),
            "share": f"{row['share']:.1%}",
        }
        for row in by_role(analysis).to_dict("records")
    ]
    return table_of(lines, title, [*summary(analysis), *notes])


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
    if analysis.unheld:
        lines.append(
            f"no type of {analysis.hardware.name} holds {', '.join(analysis.unheld)}: a peak that "
            "is too high stands in"
        )
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
