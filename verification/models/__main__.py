"""``python -m verification.models -o reports/models.md``: families, methods and ways."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from quant.common.files import write_text
from quant.common.progress import track
from quant.common.versions import library_versions
from verification.models.families import Family
from verification.models.matrix import FORMAT, METHODS, Row, run, ways
from verification.models.table import FAMILIES

HEAD = """# Models: families, methods, ways

`python -m verification.models -o reports/models.md`, {versions}.

Tiny random models of {count} families of transformers, in {format}, by each method, in memory and
streamed. **ok** means: every number of the model is counted once in the report; what is not
quantized is what it was; the folder that was written is loaded again with the same codes, the same
other parameters and buffers, and the same logits, bit for bit; and for causal models perplexity is
the model's own loss to 1e-5. AWQ changes norms, which is its way. Methods that look at inputs do
not stream.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the matrix; the exit code is 1 where something is not as it must be."""
    parser = argparse.ArgumentParser(
        prog="python -m verification.models",
        description="Quantize tiny models of many families in every way, and compare.",
        epilog="Example: python -m verification.models --family mixtral",
    )
    names = [family.name for family in FAMILIES]
    parser.add_argument("--family", action="append", choices=names, help="one or several; all")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file; standard output")
    given = parser.parse_args(arguments)
    chosen = [family for family in FAMILIES if not given.family or family.name in given.family]
    text, sound = report(chosen)
    if given.out is None:
        print(text)
    else:
        write_text(given.out, text)
    return 0 if sound else 1


def report(families: Sequence[Family]) -> tuple[str, bool]:
    """Return the report as Markdown, and whether all is as it must be."""
    jobs = [(family, *way) for family in families for way in ways()]
    rows: dict[str, list[Row]] = {family.name: [] for family in families}
    for family, method, way in track(jobs, "families", len(jobs)):
        with tempfile.TemporaryDirectory() as name:
            rows[family.name].append(run(family, method, way, Path(name)))
    versions = library_versions()
    named = ", ".join(f"{name} {versions[name]}" for name in ("torch", "transformers"))
    head = HEAD.format(versions=named, count=len(families), format=f"`{FORMAT}`")
    sound = all(not row.faults for own in rows.values() for row in own)
    parts = [head, _results(rows), _coverage(rows), _faults(rows)]
    return "\n".join(part for part in parts if part), sound


def _results(rows: dict[str, list[Row]]) -> str:
    columns = [f"{method}, {way}" for method, own in METHODS.items() for way in own]
    lines = ["| family | kind | " + " | ".join(columns) + " |", "|---" * (len(columns) + 2) + "|"]
    for name, own in rows.items():
        cells = ["ok" if not row.faults else f"{len(row.faults)} faults" for row in own]
        lines.append(f"| {name} | {own[0].kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _coverage(rows: dict[str, list[Row]]) -> str:
    """What was quantized, by round to nearest in memory."""
    lines = [
        "## Coverage",
        "",
        "Quantized weights over all numbers but those of embeddings and heads. Tiny models have",
        "many biases and norms beside few weights: below 95 % the first line says what stays.",
        "",
        "| family | matrices | coverage | effective bits | whole model | stays as it is |",
        "|---|---|---|---|---|---|",
    ]
    for name, own in rows.items():
        row = own[0]
        lines.append(
            f"| {name} | {row.layers} | {row.coverage:.1%} | {row.effective_bits:.3f} | "
            f"{row.whole_model_bits:.3f} | {row.kept} |"
        )
    return "\n".join(lines) + "\n"


def _faults(rows: dict[str, list[Row]]) -> str:
    found = [
        f"* {row.family}, {row.method}, {row.way}: {fault}"
        for own in rows.values()
        for row in own
        for fault in row.faults
    ]
    return "\n".join(["## Faults", "", *found]) + "\n" if found else ""


if __name__ == "__main__":
    raise SystemExit(main())
