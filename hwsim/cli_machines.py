"""Commands of the ``hwsim`` tool about machines: list, show, timeline, new, sweep, compare."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from quant.common import options
from quant.common.cli import command
from quant.common.options import listed
from quant.common.output import FIGURES, Output, Report
from quant.common.progress import say

machines = typer.Typer()
SPACE = "TOML file with a base and [axes], such as examples/space.toml."
MODEL = "Model to run: a built-in name, a folder, or a hub id."


@command(machines, "list")
def list_(
    form: options.OutputForm = None, out: options.OutFile = None, quiet: options.Quiet = False
) -> None:
    """List the built-in accelerators, the formats that they run, and the types of DRAM.

    Example: hwsim list
    """
    output = Output.choose(form, out)
    import hwsim
    from hwsim.machines.dram import dram_types

    designs = [hwsim.load_accelerator(name) for name in hwsim.accelerator_names()]
    rows = [{"name": m.name, "kind": m.kind, "weights": list(m.weights)} for m in designs]
    data = {"accelerators": rows, "dram": list(dram_types())}
    output.write(Report.of_rows("accelerators", "hwsim.list/1", rows, data))


@command(machines)
def show(
    accelerator: options.Machine,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Show a machine: every number with its source, area by part; as a figure, its blocks.

    Example: hwsim show bitmod -o bitmod.svg
    """
    output = Output.choose(form, out, FIGURES)
    import hwsim
    from hwsim.report.machine import machine_report

    output.write(machine_report(hwsim.load_accelerator(accelerator)))


@command(machines)
def timeline(
    accelerator: options.Machine,
    weights: Annotated[str, options.number_format("weights", "the machine's")] = "",
    length: Annotated[int, typer.Option(help="Inputs of a job, such as 512.", min=1)] = 512,
    jobs: Annotated[int, typer.Option(help="Jobs, one after the other.", min=1)] = 2,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Show what a tile of the Verilog does clock by clock: loads, steps, drains, results.

    Example: hwsim timeline bitmod-rtl --weights nvfp4:g16:e4m3 -o timeline.svg
    """
    output = Output.choose(form, out, FIGURES)
    import hwsim
    from hwsim.report.timeline import timeline_report

    machine = hwsim.load_accelerator(accelerator)
    chosen = options.format_name(weights) or machine.default_weights
    output.write(timeline_report(machine, chosen, length, jobs))


@command(machines)
def new(
    accelerator: Annotated[
        str, typer.Argument(help="A built-in name such as bitmod (`hwsim list`), to begin with.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="TOML file, such as my.toml.")],
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a machine's file of your own, commented, that begins as a built-in one.

    Example: hwsim new bitmod -o my.toml
    """
    from hwsim.machines.template import write_machine

    write_machine(accelerator, out, overwrite=overwrite)
    print(f"{out}: change it, then: hwsim simulate smollm2-135m {out}")


@command(machines)
def sweep(
    space: Annotated[Path, typer.Argument(help=SPACE)],
    model: Annotated[str, typer.Option(help=MODEL)] = "smollm2-135m",
    prompt: options.Prompt = options.PROMPT,
    generate: options.Generate = options.GENERATE,
    batch: options.Batch = options.BATCH,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="COLUMN<=NUMBER or COLUMN>=NUMBER that designs must keep, such as "
            f"area_um2<=2e6. {options.LISTS}.",
            show_default="none",
        ),
    ] = None,
    iso_area: Annotated[
        str,
        typer.Option(
            help="MACHINE or MACHINE:SHARE, designs of about its area, such as fp16:0.02.",
            show_default="any area",
        ),
    ] = "",
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Column that is minimised, such as time_s. {options.LISTS}.",
            show_default="time_s,energy_j,area_um2",
        ),
    ] = None,
    mapping: Annotated[
        Literal["best", "rule"],
        typer.Option(help="Loops and tiles of each op: searched (best), or by a plain rule."),
    ] = "best",
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Folder for all designs as Parquet files, such as sweep; a cut run goes on.",
            show_default="none",
        ),
    ] = None,
    overwrite: options.Overwrite = False,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Simulate every design of a space and show those that no other beats.

    Example: hwsim sweep examples/space.toml --model smollm2-135m
    """
    output = Output.choose(form, out, FIGURES)
    import hwsim
    from hwsim.exploration.limits import parse_area, parse_limit
    from hwsim.exploration.sweep import OBJECTIVES
    from hwsim.report.designs import designs_report

    limits = [parse_limit(text) for text in listed(limit, (), "limit")]
    limits += [parse_area(iso_area)] if iso_area else []
    chosen = hwsim.DesignSpace.load(space)
    found = hwsim.sweep(
        chosen,
        _works(chosen, model, prompt, generate, batch),
        limits=limits,
        objectives=listed(objective, OBJECTIVES, "objective"),
        mapping=mapping,
        folder=folder,
        overwrite=overwrite,
    )
    request = {"model": model, "prompt": prompt, "generate": generate, "batch": batch}
    output.write(designs_report(found, request))


@command(machines)
def explore(
    space: Annotated[Path, typer.Argument(help=SPACE)],
    model: Annotated[str, typer.Option(help=MODEL)] = "smollm2-135m",
    prompt: options.Prompt = options.PROMPT,
    generate: options.Generate = options.GENERATE,
    batch: options.Batch = options.BATCH,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Do what sweep does: the name is that of earlier releases, and goes with the next one.

    Example: hwsim explore examples/space.toml --model smollm2-135m
    """
    output = Output.choose(form, out, FIGURES)
    say("hwsim explore is now hwsim sweep: this name goes with the next release")
    import hwsim
    from hwsim.report.designs import designs_report

    chosen = hwsim.DesignSpace.load(space)
    found = hwsim.sweep(chosen, _works(chosen, model, prompt, generate, batch))
    request = {"model": model, "prompt": prompt, "generate": generate, "batch": batch}
    output.write(designs_report(found, request))


@command(machines)
def compare(
    accelerators: Annotated[
        list[str],
        typer.Argument(help="Machines, such as fp16 bitmod; the first is the reference."),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Model to run: a built-in name, a folder, or a hub id. {options.LISTS}.",
            show_default="smollm2-135m",
        ),
    ] = None,
    iso: Annotated[
        Literal["none", "area", "array"],
        typer.Option(help="Solve the tiles of each for the first one's area, or array's area."),
    ] = "none",
    prompt: options.Prompt = options.PROMPT,
    generate: options.Generate = options.GENERATE,
    batch: options.Batch = options.BATCH,
    form: options.OutputForm = None,
    out: options.OutFigure = None,
    quiet: options.Quiet = False,
) -> None:
    """Simulate several machines on several models, each in its own formats.

    Example: hwsim compare fp16 bitmod --model smollm2-135m --iso array -o compare.svg
    """
    output = Output.choose(form, out, FIGURES)
    from hwsim.exploration.compare import compare as compared
    from hwsim.report.compare import compare_report

    models = listed(model, ["smollm2-135m"], "model")
    frame = compared(accelerators, models, prompt=prompt, generate=generate, batch=batch, iso=iso)
    request = {"accelerators": accelerators, "models": models, "iso": iso, "prompt": prompt}
    output.write(compare_report(frame, request | {"generate": generate, "batch": batch}))


def _works(space: Any, model: str, prompt: int, generate: int, batch: int) -> dict[str, Any]:  # noqa: ANN401
    """The prompt and its generated tokens, as works of their own."""
    import roofline
    from hwsim.simulation.simulate import machine_formats
    from roofline.workloads.workload import Scenario

    formats = machine_formats(space.machine)
    parts = roofline.scenario(model, prompt, generate, batch, **formats).parts
    works = {"prefill": Scenario(parts[:1])}
    return works | ({"decode": Scenario(parts[1:])} if generate else {})
