"""The ``roofline`` command: reports, comparisons, and lists of models and hardware."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from quant.common.cli import run, to_json
from quant.common.errors import RequestError
from quant.common.files import atomic_path, write_text
from quant.plan import Plan
from roofline.bounds.analysis import Analysis, analyze
from roofline.calibration.laws import load_calibration
from roofline.cli_measure import measure
from roofline.compat.llm_viewer import Version
from roofline.devices.device import HardwareSpec, hardware_names, load_hardware
from roofline.reports.tables import to_markdown, to_report_json, to_table
from roofline.workloads.models import config_text, context_limit, load_config, model_names
from roofline.workloads.workload import Workload, workload

BITS = {"16": "fp16", "8": "int8", "6": "int6", "5": "int5", "4": "int4", "3": "int3", "2": "int2"}
PLOTS = (".svg", ".png", ".pdf")
COMPAT: dict[str, Version] = {"llm-viewer": "main", "llm-viewer-pr27": "pr27"}
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
app.add_typer(measure)

Formats = Literal["table", "json", "csv", "md", "html"]
Context = Annotated[int, typer.Option(help="Prompt or cached tokens.")]
Batch = Annotated[int, typer.Option(help="Sequences.")]
Phase = Annotated[Literal["prefill", "decode"], typer.Option()]
Calibrated = Annotated[
    bool, typer.Option("--calibrated/--ideal", help="Expected times, or the least.")
]
Out = Annotated[Path | None, typer.Option("-o", "--out", help="File to write.")]


def main() -> None:
    """Run the ``roofline`` command."""
    run(app, "roofline")


@app.command()
def report(
    model: str,
    hardware: str,
    phase: Phase = "prefill",
    batch: Batch = 1,
    context: Context = 2048,
    weights: Annotated[str, typer.Option(help="Format, or bits.")] = "fp16",
    activations: Annotated[str, typer.Option(help="Format, or bits.")] = "fp16",
    kv: Annotated[str, typer.Option(help="Format of the KV cache, or bits.")] = "fp16",
    head: Annotated[str, typer.Option(help="Format of lm_head, or bits.")] = "fp16",
    plan: Annotated[Path | None, typer.Option(help="Formats by layer.")] = None,
    past: Annotated[int, typer.Option(help="Tokens that a prefill finds cached.")] = 0,
    new_tokens: Annotated[int, typer.Option(help="Tokens of a decode step (drafts).")] = 1,
    tp: Annotated[int, typer.Option(help="Devices that share every layer.")] = 1,
    pp: Annotated[int, typer.Option(help="Pipeline stages.")] = 1,
    ep: Annotated[int, typer.Option(help="Devices that share the experts.")] = 1,
    flash: Annotated[
        bool | None, typer.Option("--flash/--no-flash", help="Attention as one kernel.")
    ] = None,
    calibrated: Calibrated = False,
    calibration: Annotated[
        Path | None, typer.Option(help="A file of `roofline calibrate`; implies --calibrated.")
    ] = None,
    compat: Annotated[
        str | None, typer.Option(help=f"Another tool's formulas: {', '.join(COMPAT)}.")
    ] = None,
    format_: Annotated[
        Literal["table", "json", "csv", "md", "html"], typer.Option("--format")
    ] = "table",
    out: Out = None,
    plot: Annotated[Path | None, typer.Option(help="Roofline figure to write (SVG, PNG).")] = None,
) -> None:
    """Say, layer by layer, whether a model is bound by memory or compute.

    Example: roofline report llama-2-7b h100-sxm --phase decode --weights bitmod4:g128:int8
    """
    if plot is not None and plot.suffix not in PLOTS:
        raise RequestError(f"plot {str(plot)!r}: the name must end in {', '.join(PLOTS)}")
    formats = {"weights": weights, "activations": activations, "kv": kv, "head": head}
    request: dict[str, Any] = {"model": model, "phase": phase, "batch": batch, "context": context}
    if compat is not None:
        _emit(_compat(compat, request, hardware, formats, bool(flash), tp, format_), out)
        return
    formats = {key: BITS.get(value, value) for key, value in formats.items()}
    layers = Plan.load(plan).layers if plan else None
    options: dict[str, Any] = {
        **formats,
        "past": past,
        "new_tokens": new_tokens,
        "tp": tp,
        "pp": pp,
        "ep": ep,
    }
    options["flash"] = True if flash is None else flash
    work = workload(model, phase, batch, context, plan=layers, **options)
    _warn(work, model)
    spec = load_hardware(hardware)
    law = load_calibration(spec, calibration) if calibrated or calibration else None
    analysis = analyze(work, spec, law)
    request |= {"model": work.model, **options, "plan": str(plan) if plan else None}
    if format_ == "html":
        _emit(_page(model, spec, request, calibrated or calibration is not None), out)
        return
    _emit(_text(analysis, request, format_), out)
    if plot is not None:
        from roofline.reports.figure import draw_roofline

        with atomic_path(plot) as temporary:
            draw_roofline(analysis).savefig(temporary, format=plot.suffix[1:])


@app.command()
def compare(
    model: str,
    hardware: Annotated[list[str], typer.Argument(help="Devices, the first is the base.")],
    phase: Phase = "decode",
    batch: Batch = 1,
    context: Context = 2048,
    weights: Annotated[list[str] | None, typer.Option(help="Formats; repeat for several.")] = None,
    calibrated: Calibrated = False,
    format_: Annotated[Literal["table", "json", "csv"], typer.Option("--format")] = "table",
    out: Out = None,
) -> None:
    """Set devices and formats side by side.

    Example: roofline compare llama-2-7b h100-sxm a100-80g --weights fp16 --weights bitmod4
    """
    from roofline.bounds.compare import compare_frame, to_compare_table

    formats = [BITS.get(text, text) for text in weights or ["fp16"]]
    frame = compare_frame(model, hardware, phase, batch, context, formats, calibrated)
    if format_ == "json":
        content = {"model": model, "phase": phase, "batch": batch, "context": context}
        text = to_json("roofline.compare/1", content | {"rows": frame.to_dict("records")}) + "\n"
    elif format_ == "csv":
        text = frame.to_csv(index=False)
    else:
        text = to_compare_table(frame, f"{model} {phase}, batch {batch}, context {context}")
    _emit(text, out)


@app.command("list")
def list_(
    what: Literal["models", "hardware"],
    search: Annotated[str, typer.Argument(help="Part of a name.")] = "",
    format_: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
) -> None:
    """List the built-in models or hardware, or those whose name has a part.

    Example: roofline list hardware h100
    """
    every = model_names() if what == "models" else hardware_names()
    names = [name for name in every if search.lower() in name]
    if format_ == "json":
        print(to_json("roofline.list/1", {what: names}))
        return
    if not names:
        raise RequestError(f"no {what} with {search!r} in its name (`roofline list {what}`)")
    print("\n".join(names))


def _text(analysis: Analysis, request: dict[str, Any], format_: str) -> str:
    if format_ == "json":
        return to_report_json(analysis, request) + "\n"
    if format_ == "csv":
        return analysis.to_frame().to_csv(index=False)
    title = f"{request['model']} {request['phase']}, batch {request['batch']}, "
    title += f"context {request['context']}, {analysis.hardware.name}"
    return to_markdown(analysis, title) if format_ == "md" else to_table(analysis, title)


def _page(model: str, spec: HardwareSpec, request: dict[str, Any], calibrated: bool) -> str:
    """Return the HTML page; what it cannot recompute is refused."""
    from roofline.reports.page import PageRequest, to_page

    fixed = {"past": 0, "new_tokens": 1, "pp": 1, "ep": 1, "flash": True, "plan": None}
    for key, value in fixed.items():
        if request[key] != value:
            raise RequestError(f"{key} {request[key]!r}: the page knows {value!r} only")
    names = ("phase", "batch", "context", "weights", "activations", "kv", "head", "tp")
    chosen = {name: request[name] for name in names}
    command = " ".join(["roofline", *sys.argv[1:]])
    return to_page(PageRequest(model, spec, calibrated=calibrated, command=command, **chosen))


def _compat(
    name: str,
    request: dict[str, Any],
    device: str,
    formats: dict[str, str],
    flash: bool,
    tp: int,
    format_: str,
) -> str:
    """Report with LLM-Viewer's formulas; formats are plain bits."""
    from roofline.compat.llm_viewer import analyze as their_analysis
    from roofline.compat.report import to_compat_frame, to_compat_json, to_compat_table

    if name not in COMPAT:
        raise RequestError(f"compat {name!r}: {', '.join(COMPAT)} are known")
    bits = [_bits(key, formats[key]) for key in ("weights", "activations", "kv")]
    config = load_config(request["model"])[1]
    w, a, kv = bits
    sizes = (request["batch"], request["context"])
    result = their_analysis(config, device, *sizes, w, a, kv, flash, tp, COMPAT[name])
    shown = request | {"hardware": device, "compat": name, "flash": flash, "tp": tp}
    shown |= dict(zip(("weights", "activations", "kv"), map(str, bits), strict=True))
    if format_ == "json":
        return to_compat_json(result, shown) + "\n"
    if format_ == "csv":
        return to_compat_frame(result, request["phase"]).to_csv(index=False)
    title = f"{request['model']} {request['phase']} on {device}, {name}"
    return to_compat_table(result, request["phase"], title)


def _bits(key: str, text: str) -> int:
    """Return plain bits: a number, or a format that is one (fp16, int8)."""
    digits = text.removeprefix("fp").removeprefix("int")
    if not digits.isdigit():
        raise RequestError(f"{key} {text!r}: LLM-Viewer knows plain bits only, such as 4")
    return int(digits)


def _warn(work: Workload, model: str) -> None:
    """Say that a context is longer than the model was made for."""
    limit, asked = context_limit(*config_text(model)), work.step.queries + work.step.past
    if limit and asked > limit:
        print(
            f"roofline: warning: {asked:.0f} tokens; {work.model} is made for {limit}",
            file=sys.stderr,
        )


def _emit(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
