"""Commands of the ``roofline`` tool that sweep, serve, calibrate and validate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant.common import options
from quant.common.cli import command
from quant.common.extras import require
from quant.common.options import format_name, format_names, listed, numbers, scenario_option
from quant.common.output import FIGURES, Output, Report

if TYPE_CHECKING:
    from quant.formats.spec import FormatLike
    from roofline.workloads.setting import WorkloadOptions

SERVER = "A server's usual load, not the one short prompt of other commands."
measure = typer.Typer()


@command(measure)
def sweep(
    model: options.Model,
    hardware: options.Devices,
    phase: options.Phase = "decode",
    batch: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{options.SCENARIO['batch']} {options.RANGES}.", show_default=str(options.BATCH)
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            help=f"{options.CONTEXT}: {options.STEP}. {options.RANGES}.",
            show_default="2048",
        ),
    ] = None,
    weights: options.WeightsList = None,
    activations: options.ActivationsList = None,
    kv: options.KvList = None,
    head: options.Head = "fp16",
    plan: options.PlanFile = None,
    tp: Annotated[
        list[str] | None,
        typer.Option(help=f"Devices that share every layer. {options.RANGES}.", show_default="1"),
    ] = None,
    calibrated: options.Calibrated = False,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Analyze every combination of batch, context, formats and devices.

    Example: roofline sweep llama-3.1-8b h100-sxm a100-80g --batch 1:64 --context 1024,4096 -o s.csv
    """
    output = Output.choose(form, out, FIGURES)
    batches = numbers(batch, [options.BATCH], "batch")
    contexts = numbers(context, [2048], "context")
    devices, shares = listed(hardware, (), "hardware"), numbers(tp, [1], "tp")
    import roofline
    from roofline.reports.report import sweep_report

    layers, rests = planned(plan, model), format_names(weights, ["fp16"], "weights")
    frame = roofline.sweep(
        model,
        devices,
        phase,
        batches,
        contexts,
        rests,
        format_names(kv, ["fp16"], "kv"),
        format_names(activations, ["fp16"], "activations"),
        shares,
        calibrated=calibrated,
        head=format_name(head),
        plan=layers,
    )
    output.write(sweep_report(frame, rest_of(layers, model, " or ".join(rests), format_name(head))))


@command(measure, "serve")
def serve_(
    model: options.Model,
    hardware: options.Device,
    prompt: Annotated[int, scenario_option("prompt", SERVER)] = 1024,
    generate: Annotated[int, scenario_option("generate", SERVER)] = 256,
    batch: Annotated[int, scenario_option("batch", SERVER)] = 16,
    weights: options.Weights = "fp16",
    activations: options.Activations = "fp16",
    kv: options.Kv = "fp16",
    head: options.Head = "fp16",
    plan: options.PlanFile = None,
    tp: options.TensorParallel = 1,
    ep: options.ExpertParallel = 1,
    calibrated: options.Calibrated = True,
    form: options.OutputForm = None,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Estimate time to first token and time per output token of a server.

    Example: roofline serve llama-3.1-8b h100-sxm --prompt 2048 --generate 256 --batch 32
    """
    output = Output.choose(form, out)
    import roofline
    from roofline.reports.report import serving_report

    given: WorkloadOptions = {
        "weights": format_name(weights),
        "activations": format_name(activations),
        "kv": format_name(kv),
        "head": format_name(head),
        "plan": planned(plan, model),
        "tp": tp,
        "ep": ep,
    }
    spec = roofline.load_hardware(hardware)
    law = roofline.load_calibration(spec) if calibrated else None
    served = roofline.serve(model, spec, prompt, generate, batch, law, **given)
    request: dict[str, Any] = {"model": model, "hardware": spec.name, "prompt": prompt}
    request |= {"generate": generate, "batch": batch, **given}
    request |= {"plan": str(plan) if plan else None, "calibrated": calibrated}
    rest = rest_of(given["plan"], model, given["weights"], given["head"])
    request |= {"rest": rest} if rest else {}
    output.write(serving_report(served, request))


@command(measure, "calibrate")
def calibrate_(
    hardware: options.Devices,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="TOML file to write, such as mine.toml.")
    ],
    kernels: Annotated[
        Path | None,
        typer.Option(
            help="CSV of measured kernels, such as mine.csv.", show_default="the built-in table"
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Fit efficiencies and launch floors to measured kernels.

    Example: roofline calibrate h100-sxm --kernels mine.csv -o mine.toml
    """
    Output.choose(None, out, ("toml",))
    require("scipy")
    import roofline
    from roofline.calibration.laws import calibrate, save

    devices = listed(hardware, (), "hardware")
    calibrations = [calibrate(roofline.load_hardware(name), kernels) for name in devices]
    save(calibrations, out, f"roofline calibrate {' '.join(devices)}")
    rows = [
        {
            "device": calibration.device,
            "kernel": name,
            "cases": law.cases,
            "compute": f"{law.compute:.2f}",
            "memory": f"{law.memory:.2f}",
            "floor (us)": f"{law.floor_s * 1e6:.1f}",
            "held-out median error": f"{law.error:.1%}",
        }
        for calibration in calibrations
        for name, law in calibration.kernels.items()
    ]
    Output("table").write(Report.of_rows(str(out), "", rows, {}))


@command(measure, "validate")
def validate_(
    form: options.OutputForm = None, out: options.OutFile = None, quiet: options.Quiet = False
) -> None:
    """Print the error of every prediction class against measurement.

    Example: roofline validate -o validation.md
    """
    output = Output.choose(form, out)
    require("scipy")
    import roofline
    from roofline.validation.report import validation_report

    output.write(validation_report(roofline.validate()))


def planned(plan: Path | None, model: str) -> dict[str, str] | None:
    """Return the formats of a plan's layers, a plan of this model's; None: there is no plan."""
    from quant.plan import Plan
    from roofline.workloads.models import planned_for

    return None if plan is None else planned_for(Plan.load(plan), model)


def rest_of(
    layers: Mapping[str, FormatLike] | None, model: str, weights: FormatLike, head: FormatLike
) -> str:
    """Return in a line what a plan leaves, and in which formats; empty: nothing, or no plan."""
    from roofline.workloads.inventory import HEAD, left_said
    from roofline.workloads.planned import unplanned

    return left_said(unplanned(model, layers), {"": weights, HEAD: head}) if layers else ""
