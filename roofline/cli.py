"""The ``roofline`` command: reports, comparisons, and lists of models and hardware."""

from __future__ import annotations

if __name__ == "__main__":  # the boundary first, then the imports below
    from quant.common.start import start

    start("roofline", "roofline.cli:main")

import shlex
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quant.common import options
from quant.common.cli import application, command, run
from quant.common.errors import RequestError
from quant.common.options import format_name, format_names, listed
from quant.common.output import FIGURES, TABLES, Output, Report, frame_of
from quant.common.tables import Table
from roofline.cli_measure import measure, planned, rest_of

if TYPE_CHECKING:
    from roofline.devices.device import HardwareSpec
    from roofline.workloads.setting import WorkloadOptions
    from roofline.workloads.workload import Workload

COMPAT: dict[str, Literal["main", "pr27"]] = {"llm-viewer": "main", "llm-viewer-pr27": "pr27"}
"""Name on the command line to the version of LLM-Viewer."""
_ORDINARY = {"past": 0, "new_tokens": 1, "pp": 1, "ep": 1, "plan": None, "calibration": None}
PAGE = {**_ORDINARY, "flash": True}
"""What the HTML page cannot recompute has these values."""
LLM_VIEWER = {**_ORDINARY, "head": "fp16", "calibrated": False}
"""What LLM-Viewer's formulas do not know has these values."""
NewTokens = Annotated[
    int, typer.Option(help="Tokens of a decode step; more to verify a draft.", min=1)
]
Stages = Annotated[int, typer.Option(help="Stages of consecutive layers, a device each.")]
Flash = Annotated[
    bool | None,
    typer.Option(
        "--flash/--no-flash",
        help="Attention as one kernel, or as three ops.",
        show_default="flash; with --compat no-flash",
    ),
]
app = application(
    "roofline",
    "What bounds a model on a device: memory, compute or the link.\n\n"
    "Example: roofline report llama-2-7b h100-sxm --phase decode",
)
app.add_typer(measure)


def main() -> None:
    """Run the ``roofline`` command."""
    run(app, "roofline")


@command(app)
def report(
    model: options.Model,
    hardware: options.Device,
    phase: options.Phase = "prefill",
    batch: options.Batch = options.BATCH,
    context: options.Context = 2048,
    weights: options.Weights = "fp16",
    activations: options.Activations = "fp16",
    kv: options.Kv = "fp16",
    head: options.Head = "fp16",
    plan: options.PlanFile = None,
    past: options.Past = 0,
    new_tokens: NewTokens = 1,
    tp: options.TensorParallel = 1,
    pp: Stages = 1,
    ep: options.ExpertParallel = 1,
    flash: Flash = None,
    calibrated: options.Calibrated = False,
    calibration: Annotated[
        Path | None,
        typer.Option(
            help="A file of `roofline calibrate`, such as mine.toml; implies --calibrated.",
            show_default="the built-in one",
        ),
    ] = None,
    compat: Annotated[
        Literal["llm-viewer", "llm-viewer-pr27"] | None,
        typer.Option(help="Another tool's formulas, without figure.", show_default="none, ours"),
    ] = None,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Say, layer by layer, whether a model is bound by memory or compute.

    The HTML page recomputes what-ifs in a browser; SVG, PNG and PDF are the roofline itself.

    Example: roofline report llama-2-7b h100-sxm --phase decode --weights bitmod4:g128:int8
    """
    output = Output.choose(form, out, TABLES if compat else FIGURES)
    formats = {"weights": weights, "activations": activations, "kv": kv, "head": head}
    request: dict[str, Any] = {"model": model, "phase": phase, "batch": batch, "context": context}
    if compat is not None:
        given_too = {"plan": plan, "head": head, "past": past, "new_tokens": new_tokens, "pp": pp}
        given_too |= {"ep": ep, "calibrated": calibrated, "calibration": calibration}
        _check_known(given_too, LLM_VIEWER, f"--compat {compat}")
        output.write(_compat(compat, request, hardware, formats, bool(flash), tp))
        return
    import roofline
    from roofline.reports.report import analysis_report

    given: WorkloadOptions = {
        "plan": planned(plan, model),
        "weights": format_name(weights),
        "activations": format_name(activations),
        "kv": format_name(kv),
        "head": format_name(head),
        "past": past,
        "new_tokens": new_tokens,
        "tp": tp,
        "pp": pp,
        "ep": ep,
        "flash": flash is not False,
    }
    asked = {**given, "plan": str(plan) if plan else None}
    if output.form == "html":
        _check_known({**asked, "calibration": calibration}, PAGE, "the HTML page")
    work = roofline.workload(model, phase, batch, context, **given)
    _warn(work, model)
    spec = roofline.load_hardware(hardware)
    expected = calibrated or calibration is not None
    law = roofline.load_calibration(spec, calibration) if expected else None
    request |= {"model": work.model, **asked}
    rest = rest_of(given["plan"], model, given["weights"], given["head"])
    request |= {"rest": rest} if rest else {}
    analysis = roofline.analyze(work, spec, law)
    page = partial(_page, model, spec, request, expected)
    output.write(analysis_report(analysis, request, page))


@command(app)
def compare(
    model: options.Model,
    hardware: Annotated[
        list[str],
        typer.Argument(
            help="Devices, the first is the base of the speed-ups: built-in names such as "
            "h100-sxm (`roofline list hardware`), or TOML files."
        ),
    ],
    phase: options.Phase = "decode",
    batch: options.Batch = options.BATCH,
    context: options.Context = 2048,
    weights: options.WeightsList = None,
    calibrated: options.Calibrated = False,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Set devices and formats side by side.

    Example: roofline compare llama-2-7b h100-sxm a100-80g --weights fp16,bitmod4
    """
    output = Output.choose(form, out, FIGURES)
    from roofline.bounds.compare import compare_frame
    from roofline.reports.report import comparison_report

    formats, devices = format_names(weights, ["fp16"], "weights"), listed(hardware)
    frame = compare_frame(model, devices, phase, batch, context, formats, calibrated)
    request = {"model": model, "phase": phase, "batch": batch, "context": context}
    output.write(comparison_report(frame, request))


@command(app, "list")
def list_(
    what: Annotated[Literal["models", "hardware"], typer.Argument(help="What to list.")],
    search: Annotated[
        str, typer.Argument(help="Part of a name, such as h100.", show_default="all names")
    ] = "",
    form: options.OutputForm = None,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """List the built-in models or hardware, or those whose name has a part.

    Example: roofline list hardware h100
    """
    output = Output.choose(form, out)
    import roofline

    every = roofline.model_names() if what == "models" else roofline.hardware_names()
    names = [name for name in every if search.lower() in name]
    if not names:
        raise RequestError(f"no {what} with {search!r} in its name (`roofline list {what}`)")
    plain = Table((), (), notes=tuple(names))  # a name a line and nothing else, for other programs
    rows = [{str(what): name} for name in names]
    content = {str(what): names}
    output.write(
        Report(what, "roofline.list/1", lambda: content, lambda: [plain], lambda: frame_of(rows))
    )


def _check_known(request: Mapping[str, Any], known: Mapping[str, Any], who: str) -> None:
    """Refuse options that a page or another tool's formulas do not know, before any work."""
    for key, value in known.items():
        if request[key] != value:
            raise RequestError(f"{key} {str(request[key])!r}: {who} knows {str(value)!r} only")


def _page(model: str, spec: HardwareSpec, request: dict[str, Any], calibrated: bool) -> str:
    """Return the HTML page."""
    from roofline.reports.page import PageRequest, to_page

    names = ("phase", "batch", "context", "weights", "activations", "kv", "head", "tp")
    chosen = {name: request[name] for name in names}
    line = shlex.join(["roofline", *sys.argv[1:]])
    return to_page(PageRequest(model, spec, calibrated=calibrated, command=line, **chosen))


def _compat(
    name: str,
    request: dict[str, Any],
    device: str,
    formats: dict[str, str],
    flash: bool,
    tp: int,
) -> Report:
    """Report with LLM-Viewer's formulas; formats are plain bits."""
    from roofline.compat.llm_viewer import analyze as their_analysis
    from roofline.compat.report import compat_report
    from roofline.workloads.models import load_config

    w, a, kv = (_bits(key, formats[key]) for key in ("weights", "activations", "kv"))
    config = load_config(request["model"])[1]
    sizes = (request["batch"], request["context"])
    result = their_analysis(config, device, *sizes, w, a, kv, flash, tp, COMPAT[name])
    shown = request | {"hardware": device, "compat": name, "flash": flash, "tp": tp}
    shown |= {"weights": str(w), "activations": str(a), "kv": str(kv)}
    title = f"{request['model']} {request['phase']} on {device}, {name}"
    return compat_report(result, shown, title)


def _bits(key: str, text: str) -> int:
    """Return plain bits: a number, or a format that is one (fp16, int8)."""
    digits = text.removeprefix("fp").removeprefix("int")
    if not digits.isdigit():
        raise RequestError(f"{key} {text!r}: LLM-Viewer knows plain bits only, such as 4")
    return int(digits)


def _warn(work: Workload, model: str) -> None:
    """Say that a context is longer than the model was made for."""
    from roofline.workloads.models import config_text, context_limit

    limit, asked = context_limit(*config_text(model)), work.step.queries + work.step.past
    if limit and asked > limit:
        print(
            f"roofline: warning: {asked:.0f} tokens; {work.model} is made for {limit}",
            file=sys.stderr,
        )
