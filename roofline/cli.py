"""The ``roofline`` command: reports, and lists of models and hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from quant.common.cli import run, to_json
from quant.common.errors import RequestError
from quant.common.files import atomic_path, write_text
from quant.plan import Plan
from roofline.analysis import analyze
from roofline.hardware import hardware_names, load_hardware
from roofline.models import model_names
from roofline.report import to_report_json, to_table
from roofline.workload import workload

BITS = {"16": "fp16", "8": "int8", "6": "int6", "5": "int5", "4": "int4", "3": "int3", "2": "int2"}
PLOTS = (".svg", ".png", ".pdf")
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


def main() -> None:
    """Run the ``roofline`` command."""
    run(app, "roofline")


@app.command()
def report(
    model: str,
    hardware: str,
    phase: Annotated[Literal["prefill", "decode"], typer.Option()] = "prefill",
    batch: Annotated[int, typer.Option(help="Sequences.")] = 1,
    context: Annotated[int, typer.Option(help="Prompt or cached tokens.")] = 2048,
    weights: Annotated[str, typer.Option(help="Format, or bits.")] = "fp16",
    activations: Annotated[str, typer.Option(help="Format, or bits.")] = "fp16",
    kv: Annotated[str, typer.Option(help="Format of the KV cache, or bits.")] = "fp16",
    head: Annotated[str, typer.Option(help="Format of lm_head, or bits.")] = "fp16",
    plan: Annotated[Path | None, typer.Option(help="Formats by layer.")] = None,
    format_: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Roofline figure to write (SVG, PNG).")] = None,
) -> None:
    """Say, layer by layer, whether a model is bound by memory or compute.

    Example: roofline report llama-2-7b h100-sxm --phase decode --weights bitmod4:g128:int8
    """
    if plot is not None and plot.suffix not in PLOTS:
        raise RequestError(f"plot {str(plot)!r}: the name must end in {', '.join(PLOTS)}")
    formats = {"weights": weights, "activations": activations, "kv": kv, "head": head}
    formats = {key: BITS.get(value, value) for key, value in formats.items()}
    layers = Plan.load(plan).layers if plan else None
    work = workload(model, phase, batch, context, plan=layers, **formats)  # type: ignore[arg-type]
    analysis = analyze(work, load_hardware(hardware))
    request: dict[str, Any] = {"model": work.model, "phase": phase, "batch": batch}
    request |= {"context": context, **formats, "plan": str(plan) if plan else None}
    if format_ == "json":
        text = to_report_json(analysis, request) + "\n"
    elif format_ == "csv":
        text = analysis.to_frame().to_csv(index=False)
    else:
        title = f"{work.model} {phase}, batch {batch}, context {context}, {analysis.hardware.name}"
        text = to_table(analysis, title)
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
    if plot is not None:
        from roofline.figure import draw_roofline

        with atomic_path(plot) as temporary:
            draw_roofline(analysis).savefig(temporary, format=plot.suffix[1:])


@app.command("list")
def list_(
    what: Literal["models", "hardware"],
    format_: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
) -> None:
    """List the built-in models or hardware.

    Example: roofline list hardware
    """
    names = model_names() if what == "models" else hardware_names()
    print(to_json("roofline.list/1", {what: names}) if format_ == "json" else "\n".join(names))
