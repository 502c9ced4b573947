"""The ``hwsim`` command: list, simulate, explore, codesign, margins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from hwsim.machines.load import accelerator_names, load_accelerator
from quant.common.cli import run, to_json
from quant.common.files import write_text
from quant.plan import HEAD, Plan

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
Output = Literal["table", "json", "csv"]
Prompt = Annotated[int, typer.Option(help="Tokens of the prompt.")]
Generate = Annotated[int, typer.Option(help="Tokens generated.")]
Batch = Annotated[int, typer.Option(help="Sequences.")]
FormatOption = Annotated[Output, typer.Option("--format", help="How results are printed.")]
OutFile = Annotated[Path | None, typer.Option("-o", "--out", help="File to write.")]


def main() -> None:
    """Run the ``hwsim`` command."""
    run(app, "hwsim")


@app.command("list")
def list_(format_: Annotated[Literal["table", "json"], typer.Option("--format")] = "table") -> None:
    """List the built-in accelerators and the formats that they run.

    Example: hwsim list
    """
    machines = [load_accelerator(name) for name in accelerator_names()]
    rows = [{"name": m.name, "kind": m.kind, "weights": list(m.weights)} for m in machines]
    if format_ == "json":
        print(to_json("hwsim.list/1", {"accelerators": rows}))
    else:
        print("\n".join(f"{m.name} ({m.kind}): {', '.join(m.weights)}" for m in machines))


@app.command()
def simulate(
    model: str,
    accelerator: str,
    weights: Annotated[str, typer.Option(help="Format of the block layers.")] = "",
    plan: Annotated[Path | None, typer.Option(help="Formats by layer.")] = None,
    prompt: Prompt = 256,
    generate: Generate = 32,
    batch: Batch = 1,
    format_: FormatOption = "table",
    out: OutFile = None,
) -> None:
    """Simulate a prompt and its generated tokens: cycles, energy, area, op by op.

    Example: hwsim simulate llama-2-7b bitmod --weights bitmod4 --format json
    """
    import roofline
    from hwsim.simulation.simulate import machine_formats
    from hwsim.simulation.simulate import simulate as run_simulation

    machine = load_accelerator(accelerator)
    formats: dict[str, Any] = machine_formats(machine, weights or None)
    layers = (
        {path: str(machine.spec(t)) for path, t in Plan.load(plan).layers.items()} if plan else {}
    )
    work = roofline.scenario(model, prompt, generate, batch, plan=layers or None, **formats)
    result = run_simulation(work, machine)
    request = {"model": model, "accelerator": machine.name, "prompt": prompt}
    request |= {"generate": generate, "batch": batch, "plan": str(plan) if plan else None}
    _emit(_simulation_text(result, {**request, **formats}, format_), out)


@app.command()
def explore(
    space: Annotated[Path, typer.Argument(help="TOML: base, rows, columns, formats, bandwidth.")],
    model: Annotated[str, typer.Option(help="Model to run.")] = "smollm2-135m",
    prompt: Prompt = 256,
    generate: Generate = 32,
    batch: Batch = 1,
    format_: FormatOption = "table",
    out: OutFile = None,
) -> None:
    """Simulate a grid of designs and mark the Pareto front of time, energy and area.

    Example: hwsim explore examples/space.toml --model smollm2-135m
    """
    import roofline
    from hwsim.exploration.explore import explore as run_exploration
    from hwsim.exploration.space import DesignSpace
    from hwsim.simulation.simulate import machine_formats

    chosen = DesignSpace.load(space)
    formats: dict[str, Any] = machine_formats(load_accelerator(chosen.base))
    frame = run_exploration(chosen, roofline.scenario(model, prompt, generate, batch, **formats))
    if format_ == "json":
        text = to_json("hwsim.explore/1", {"designs": frame.to_dict("records")}) + "\n"
    else:
        text = (
            frame.to_csv(index=False) if format_ == "csv" else frame.to_string(index=False) + "\n"
        )
    _emit(text, out)


@app.command()
def codesign(
    model: str,
    accelerator: str,
    max_effective_bits: Annotated[
        float | None, typer.Option(help="Stored bits per weight over the block layers.")
    ] = None,
    max_prefill_time: Annotated[
        float | None, typer.Option(help="Seconds from prompt to first token.")
    ] = None,
    max_decode_time: Annotated[
        float | None, typer.Option(help="Seconds per generated token, on average.")
    ] = None,
    prompt: Prompt = 256,
    generate: Generate = 32,
    batch: Batch = 1,
    tokens: Annotated[int, typer.Option(help="Evaluation tokens.")] = 16384,
    exact_tokens: Annotated[int, typer.Option(help="Tokens of the bit-exact block.")] = 64,
    out: Annotated[Path, typer.Option("-o", "--out", help="Report folder.")] = Path("codesign"),
) -> None:
    """Choose the format of each layer for a machine within budgets, and measure the choice.

    Example: hwsim codesign smollm2-135m bitmod --max-effective-bits 3.7 -o codesign
    """
    from hwsim.loop import run as run_codesign
    from hwsim.report.codesign import check_report_folder, markdown, write_report
    from hwsim.study.request import Request

    request = Request(
        model, accelerator, max_effective_bits, max_prefill_time, max_decode_time,
        prompt, generate, batch, tokens, exact_tokens=exact_tokens,
    )  # fmt: skip
    load_accelerator(accelerator)
    check_report_folder(out)
    result = run_codesign(request)
    write_report(result, out)
    print(markdown(result))
    print(f"report: {out}")


@app.command()
def margins(
    model: str,
    accelerator: str,
    budget: Annotated[list[float] | None, typer.Option(help="Effective bits; may repeat.")] = None,
    random: Annotated[int, typer.Option(help="Random plans at the second budget.")] = 20,
    tokens: Annotated[int, typer.Option(help="Evaluation tokens.")] = 16384,
    seed: Annotated[int, typer.Option(help="Of the random plans.")] = 0,
    out: OutFile = None,
) -> None:
    """Measure how far plans lie below the line between bitmod3 and bitmod4, and below random plans.

    Example: hwsim margins smollm2-135m bitmod --budget 3.3 --budget 3.7 --budget 4.11 -o margins.md
    """
    from hwsim.study.margins import measure_margins

    budgets = budget or [3.3, 3.7, 4.11]
    _emit(measure_margins(model, accelerator, budgets, random, tokens, seed), out)


def _simulation_text(result: Any, request: dict[str, Any], format_: Output) -> str:  # noqa: ANN401
    from hwsim.simulation.result import op_rows

    if format_ == "csv":
        return str(result.to_frame().to_csv(index=False))
    if format_ == "json":
        totals = {key: getattr(result, key) for key in ("cycles", "compute_cycles", "dram_cycles")}
        totals |= {"time_s": result.time_s, "energy_j": result.energy_parts_j}
        totals |= {"area_um2": result.area_parts_um2, "time_by_phase_s": result.time_by_phase()}
        return to_json("hwsim.simulate/1", {**request, **totals, "ops": op_rows(result)}) + "\n"
    phases = ", ".join(f"{name} {s * 1e3:.4g} ms" for name, s in result.time_by_phase().items())
    energy = ", ".join(f"{name} {j * 1e3:.4g} mJ" for name, j in result.energy_parts_j.items())
    area = ", ".join(f"{name} {a / 1e6:.3f} mm2" for name, a in result.area_parts_um2.items())
    return (
        f"{_by_role(result)}\n{request['model']} on {request['accelerator']}, weights "
        f"{request['plan'] or request['weights']}, {HEAD} {request['head']}\n"
        f"time {result.time_s * 1e3:.4g} ms ({phases})\n"
        f"cycles {result.cycles} (compute {result.compute_cycles}, DRAM {result.dram_cycles})\n"
        f"energy {energy}\narea {area}\n"
    )


def _by_role(result: Any) -> str:  # noqa: ANN401  SimulationResult, imported late
    """A table of the same module of all layers, largest share first."""
    frame = result.to_frame()
    frame["module"] = frame["name"].str.replace(r"\.\d+\.", ".*.", regex=True)
    frame["Mcycles"] = frame["repeats"] * frame["cycles"] / 1e6
    frame["mJ"] = frame["repeats"] * frame["energy_j"] * 1e3
    grouped = frame.groupby(["module", "phase", "bound"], sort=False)[["Mcycles", "mJ"]].sum()
    grouped = grouped.sort_values("Mcycles", ascending=False).reset_index()
    grouped["share"] = (grouped["Mcycles"] * 1e6 / result.cycles).map("{:.1%}".format)
    return str(grouped.to_string(index=False, float_format="{:.4g}".format))


def _emit(text: str, out: Path | None) -> None:
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)
