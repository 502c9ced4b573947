"""The validation as text: errors of kernels and of servers, ideal beside calibrated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roofline.validation.validation import Validation

if TYPE_CHECKING:
    import pandas as pd

COMMAND = "roofline validate --format md -o reports/roofline_validation.md"
NOTES = """\
Kernels: median relative error of the ideal roof, and of the calibrated law on measurements that
its fit did not see (ten folds). Servers: mean absolute relative error (MAPE) and mean error (bias)
of TPOT; nothing is fitted to them. TTFT of these rows holds queueing and is not compared.
Rows without a stated precision are taken as 16-bit; where all predictions of such a group are too
slow by 40 % (SGLang), the servers may have run 8-bit weights."""
KERNEL_HEAD = ("device", "class", "cases", "ideal", "calibrated", "p90")
SERVING_HEAD = ("device", "model", "backend", "format", "tp", "rows", "ideal", "calibrated", "bias")


def kernel_cells(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the rows of the kernels' table."""
    return [
        (
            row["device"],
            row["class"],
            str(row["cases"]),
            f"{row['ideal_median']:.1%}",
            f"{row['median']:.1%}",
            f"{row['p90']:.1%}",
        )
        for row in frame.to_dict("records")
    ]


def serving_cells(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the rows of the servers' table."""
    return [
        (
            row["device"],
            str(row["model"]).rpartition("/")[2],
            row["backend"],
            row["precision"],
            str(row["tp"]),
            str(row["rows"]),
            f"{row['ideal_mape']:.1%}",
            f"{row['mape']:.1%}",
            f"{row['bias']:+.1%}",
        )
        for row in frame.to_dict("records")
    ]


def to_validation_markdown(found: Validation) -> str:
    """Return both tables as Markdown."""
    parts = ["# Predictions beside measurements", "", f"`{COMMAND}`", "", NOTES, ""]
    tables = (
        ("Kernels", KERNEL_HEAD, kernel_cells(found.kernels)),
        ("Servers (TPOT)", SERVING_HEAD, serving_cells(found.serving)),
    )
    for title, head, cells in tables:
        parts += [f"## {title}", "", "| " + " | ".join(head) + " |"]
        parts.append("|" + "|".join("---" for _ in head) + "|")
        parts += ["| " + " | ".join(row) + " |" for row in cells]
        parts.append("")
    return "\n".join(parts)


def to_validation_table(found: Validation) -> str:
    """Return both tables for a terminal."""
    lines = []
    tables = (
        (KERNEL_HEAD, kernel_cells(found.kernels)),
        (SERVING_HEAD, serving_cells(found.serving)),
    )
    for head, cells in tables:
        widths = [max(len(row[i]) for row in [head, *cells]) for i in range(len(head))]
        for row in [head, *cells]:
            pairs = zip(row, widths, strict=True)
            lines.append("  ".join(text.ljust(width) for text, width in pairs).rstrip())
        lines.append("")
    return "\n".join([*lines, NOTES]) + "\n"
