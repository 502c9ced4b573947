"""The ``hwsim`` command: simulate, codesign, margins, reproduce, and ``hwsim.cli_machines``."""

from __future__ import annotations

if __name__ == "__main__":  # the boundary first, then the imports below
    from quant.common.start import start

    start("hwsim", "hwsim.cli:main")

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hwsim.cli_machines import machines
from quant.common import options
from quant.common.cli import application, command, run
from quant.common.extras import require
from quant.common.options import format_name, fractions, number_format, out_option, output_option
from quant.common.output import FIGURES, Output

if TYPE_CHECKING:
    from hwsim.machines.accelerator import Accelerator

BUDGETS = (3.3, 3.7, 4.11)
MARKDOWN = ("md",)
MACHINES = "the machine's"
app = application(
    "hwsim",
    "Cycles, energy and area of models on bit-serial machines, and formats chosen for them.\n\n"
    "Example: hwsim simulate smollm2-135m bitmod --weights bitmod4",
)


app.add_typer(machines)


def main() -> None:
    """Run the ``hwsim`` command."""
    run(app, "hwsim")


@command(app)
def simulate(
    model: options.Model,
    accelerator: options.Machine,
    weights: Annotated[str, number_format("weights", MACHINES)] = "",
    activations: Annotated[str, number_format("activations", MACHINES)] = "",
    kv: Annotated[str, number_format("kv", MACHINES)] = "",
    head: Annotated[str, number_format("head", MACHINES)] = "",
    plan: options.PlanFile = None,
    codes: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a quantized checkpoint, in place of --plan: its formats, and clocks "
            "and stored bits counted from its codes where a machine's depend on them.",
            show_default="none",
        ),
    ] = None,
    prompt: options.Prompt = options.PROMPT,
    generate: options.Generate = options.GENERATE,
    batch: options.Batch = options.BATCH,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Simulate a prompt and its generated tokens: cycles, energy, area, op by op.

    As a figure: the products on the machine's roofline.

    Example: hwsim simulate llama-2-7b bitmod --weights bitmod4 --output json
    """
    output = Output.choose(form, out, FIGURES)
    import hwsim
    import roofline
    from hwsim.report.simulation import simulation_report
    from hwsim.simulation.own import check_rest, rest_said
    from quant.checkpoints.folder import load_quantized
    from quant.common.errors import RequestError
    from quant.plan import Plan
    from roofline.workloads.models import planned_for
    from roofline.workloads.planned import unplanned
    from roofline.workloads.setting import PLAIN

    machine = hwsim.load_accelerator(accelerator)
    formats = _formats(machine, weights, activations, kv, head)
    if plan and codes:
        raise RequestError("--codes brings formats of its own: --plan is not allowed beside it")
    layers = planned_for(Plan.load(plan), model) if plan else {}
    specs = {path: str(machine.spec(text)) for path, text in layers.items()}
    if codes:
        unplanned(model, {})  # an unknown model is found before its codes are read
    tensors = load_quantized(codes) if codes else None
    specs |= {path: str(machine.spec(tensor.spec)) for path, tensor in (tensors or {}).items()}
    rest = ""
    if specs:
        left = unplanned(model, specs)
        # What a plan does not name keeps its own format, unless another is asked for.
        formats |= {} if weights else {"weights": str(PLAIN)}
        check_rest(left, formats["weights"], machine)
        rest = rest_said(left, machine, formats["weights"], formats["head"])
    work = roofline.scenario(model, prompt, generate, batch, plan=specs or None, **formats)
    result = hwsim.simulate(work, machine, codes=tensors)
    request = {"model": model, "accelerator": machine.name, "prompt": prompt}
    request |= {"generate": generate, "batch": batch, "plan": str(plan) if plan else None}
    request |= {"codes": str(codes) if codes else None}
    output.write(simulation_report(result, {**request, **formats}, rest))


@command(app)
def codesign(
    model: options.Model,
    accelerator: options.Machine,
    max_effective_bits: Annotated[
        float | None,
        typer.Option(
            help="Stored bits per weight over the block layers, such as 3.7.",
            show_default="any, if another budget is given",
        ),
    ] = None,
    max_prefill_time: Annotated[
        float | None,
        typer.Option(help="Seconds from prompt to first token, such as 0.5.", show_default="any"),
    ] = None,
    max_decode_time: Annotated[
        float | None,
        typer.Option(
            help="Seconds per generated token, on average, such as 0.004.", show_default="any"
        ),
    ] = None,
    prompt: options.Prompt = options.PROMPT,
    generate: options.Generate = options.GENERATE,
    batch: options.Batch = options.BATCH,
    tokens: options.Tokens = 16384,
    context: options.Window = 1024,
    exact_tokens: Annotated[int, typer.Option(help="Tokens of the bit-exact block.", min=1)] = 64,
    time_limit: Annotated[
        float, typer.Option(help="Seconds that the solver may take for a choice.")
    ] = 120.0,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Folder of the report, the plan and the checkpoint.")
    ] = Path("codesign"),
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Choose the format of each layer for a machine within budgets, and measure the choice.

    A run that was cut goes on when it is asked for the same again; a finished one is left as it is.

    Example: hwsim codesign smollm2-135m bitmod --max-effective-bits 3.7 -o codesign
    """
    require("torch", "transformers", "safetensors", "scipy", "matplotlib")
    import hwsim
    from hwsim.loop import run_into
    from hwsim.report.codesign import MARK
    from hwsim.study.request import Request

    request = Request(
        model,
        accelerator,
        max_effective_bits,
        max_prefill_time,
        max_decode_time,
        prompt=prompt,
        generate=generate,
        batch=batch,
        tokens=tokens,
        context=context,
        exact_tokens=exact_tokens,
        time_limit=time_limit,
    )
    hwsim.load_accelerator(accelerator)
    run_into(request, out, overwrite=overwrite)
    print((out / MARK).read_text(encoding="utf-8"))
    print(f"report: {out}")


@command(app)
def margins(
    model: options.Model,
    accelerator: options.Machine,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Effective bits of a plan. {options.LISTS}.",
            show_default=",".join(map(str, BUDGETS)),
        ),
    ] = None,
    random: Annotated[int, typer.Option(help="Random plans at the middle budget.", min=0)] = 20,
    tokens: options.Tokens = 16384,
    seed: options.Seed = 0,
    form: Annotated[Literal["md"] | None, output_option(MARKDOWN)] = None,
    out: Annotated[Path | None, out_option(MARKDOWN)] = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure how far plans lie below the line between bitmod3 and bitmod4, and below random plans.

    Example: hwsim margins smollm2-135m bitmod --budget 3.3,3.7,4.11 -o margins.md
    """
    output = Output.choose(form, out, MARKDOWN)
    budgets = fractions(budget, BUDGETS, "budget")
    require("torch", "transformers", "safetensors", "scipy")
    from hwsim.study.margins import measure_margins

    output.write_text(measure_margins(model, accelerator, budgets, random, tokens, seed))


@command(app)
def reproduce(
    paper: Annotated[
        Literal["bitmod-hpca25"], typer.Argument(help="Whose figures, such as bitmod-hpca25.")
    ],
    version: Annotated[
        Literal["paper", "head"],
        typer.Option(help="Of its simulator: that of the figures, or the newest one."),
    ] = "paper",
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Recompute a paper's figures by its own simulator's arithmetic, its quirks named.

    Example: hwsim reproduce bitmod-hpca25 -o speedups.svg
    """
    output = Output.choose(form, out, FIGURES)
    from hwsim.report.reproduction import reproduce, reproduction_report

    output.write(reproduction_report(reproduce(version)))


def _formats(
    machine: Accelerator, weights: str = "", activations: str = "", kv: str = "", head: str = ""
) -> dict[str, Any]:
    """Return the keywords of ``roofline.workload`` for a machine; an empty text is its own."""
    from hwsim.simulation.simulate import machine_formats
    from quant.formats.spec import parse_spec

    formats = machine_formats(machine, format_name(weights) or None)
    for key, text in {"kv": kv, "head": head}.items():
        if text:
            formats[key] = str(machine.spec(format_name(text)))
    if activations:
        spec = parse_spec(format_name(activations))
        machine.activation_bits(spec)
        formats["activations"] = str(spec)
    return formats
