"""The ``quant`` command: list formats and models, show a format, quantize and evaluate a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from quant.common.cli import run, to_json
from quant.common.errors import RequestError
from quant.common.files import check_folder
from quant.formats.spec import parse_spec
from quant.plan import Plan

if TYPE_CHECKING:
    from quant.models.apply import QuantizationReport

Output = Literal["table", "json", "csv"]
OutputOption = Annotated[Output, typer.Option("--output", help="How results are printed.")]
CalibrationOption = Annotated[
    int, typer.Option("--calibration", help="Calibration tokens (C4).", min=512)
]
STREAMED_FROM = 4 << 30
"""Bytes of a local folder from which ``quant quantize`` streams it."""
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


def main() -> None:
    """Run the ``quant`` command."""
    run(app, "quant")


@app.command("list")
def list_(output: OutputOption = "table") -> None:
    """List the number formats and the built-in models.

    Example: quant list
    """
    from quant.formats.describe import format_rows
    from quant.methods.registry import method_rows
    from quant.models.catalog import MODELS

    models = [
        {
            "name": m.name,
            "hub_id": m.hub_id,
            "license": m.license,
            "offline_package": bool(m.package),
        }
        for m in MODELS.values()
    ]
    tables = {"formats": format_rows(), "methods": method_rows(), "models": models}
    if output == "json":
        print(to_json("quant.list/1", tables))
        return
    for kind, rows in tables.items():
        # Sources would make the table unreadable; `quant show` names them, as do JSON and CSV.
        left_out = {"source", "special_values"} if (output, kind) == ("table", "formats") else set()
        _print([{k: v for k, v in row.items() if k not in left_out} for row in rows], output)


@app.command()
def show(name: str, output: OutputOption = "table") -> None:
    """Show a format: its levels on a line, and the value of each code in each of its tables.

    NAME may be a TOML file with a grid of your own.

    Example: quant show bitmod3
    """
    from quant.formats.describe import code_rows, number_line

    spec = parse_spec(name)
    entry = spec.format
    rows = code_rows(entry)
    bits = spec.effective_bits(4096, 4096)
    if output == "json":
        facts = {"name": entry.name, "element_bits": entry.element_bits, "effective_bits": bits}
        print(to_json("quant.show/1", {**facts, "source": entry.source, "codes": rows}))
        return
    if output == "table":
        print(f"{spec}: {entry.element_bits} bits a code, {bits:.3f} a weight (4096 x 4096)")
        print(f"{entry.source}\n\n{number_line(entry)}\n")
    _print(rows, output)


@app.command("quantize")
def quantize_(
    model: str,
    folder: Annotated[Path, typer.Option("-o", "--out", help="Checkpoint folder to write.")],
    format_: Annotated[str, typer.Option("--format", help="NAME[:gGROUP][:SCALE].")] = "",
    plan: Annotated[Path | None, typer.Option(help="A plan file instead of one format.")] = None,
    method: Annotated[str, typer.Option(help="How weights are rounded (quant list).")] = "",
    calibration: CalibrationOption = 8192,
    stream: Annotated[
        bool | None,
        typer.Option(
            help="Tensor by tensor, for models larger than memory: local folders, methods that "
            "look at one layer (rtn, clip, hqq). Goes on where a run was cut.",
            show_default="folders above 4 GiB",
        ),
    ] = None,
) -> None:
    """Quantize a model and write a checkpoint.

    Example: quant quantize smollm2-135m --format bitmod4:g128:int8 --method gptq -o smollm2-gptq
    """
    formats = _formats(format_, plan)
    check_folder(folder, "manifest.json")
    if stream or (stream is None and _is_large(Path(model), method, formats)):
        from quant.checkpoints.stream import quantize_checkpoint

        done = quantize_checkpoint(model, folder, formats, method=method, model=model)
        print(f"{folder}: {len(done.layers)} layers at {done.effective_bits:.3f} effective bits")
        return
    from quant.checkpoints.folder import save_quantized
    from quant.methods.registry import get_method
    from quant.models.apply import quantize_model
    from quant.models.load import load_model

    get_method(method or "rtn")
    loaded, tokenizer = load_model(model)
    text = _calibration(tokenizer, method, formats, calibration)
    report = quantize_model(loaded, formats, method=method, calibration=text)
    rest = {name: parameter.detach() for name, parameter in loaded.named_parameters()}
    save_quantized(folder, report.tensors, model=model, rest=rest)
    print(f"{folder}: {_bits(report)}")


@app.command("eval")
def eval_(
    model: str,
    format_: Annotated[list[str] | None, typer.Option("--format", help="May repeat.")] = None,
    plan: Annotated[Path | None, typer.Option(help="A plan file to evaluate too.")] = None,
    method: Annotated[list[str] | None, typer.Option("--method", help="May repeat.")] = None,
    activations: Annotated[str, typer.Option(help="Format of activations, as int8:row.")] = "",
    kv: Annotated[str, typer.Option(help="Format of keys and values, as int4-asym:g64.")] = "",
    tokens: Annotated[int, typer.Option(help="Evaluation tokens.", min=2)] = 16384,
    context: Annotated[int, typer.Option(help="Tokens of a window.", min=2)] = 1024,
    calibration: CalibrationOption = 8192,
    dtype: Annotated[str, typer.Option(help="Compute type of the model.")] = "bfloat16",
    output: OutputOption = "table",
) -> None:
    """Measure perplexity, unquantized and in each format, with standard errors.

    Example: quant eval smollm2-135m --format bitmod3 --format int3-asym --method rtn --method gptq
    """
    choices: dict[str, str | Plan] = {text: str(parse_spec(text)) for text in format_ or []}
    if plan is not None:
        choices[str(plan)] = Plan.load(plan)
    from quant.methods.registry import get_method
    from quant.models.compare import compare

    for name in method or []:
        get_method(name)
    for text in (activations, kv):
        if text:
            parse_spec(text)
    rows = compare(
        model,
        choices,
        methods=method or [""],
        tokens=tokens,
        context=context,
        calibration=calibration,
        dtype=dtype,
        activations=activations or None,
        kv=kv or None,
    )
    if output == "json":
        print(to_json("quant.eval/1", {"model": model, "tokens": tokens, "results": rows}))
    else:
        _print(rows, output)


def _is_large(folder: Path, method: str, formats: str | Plan) -> bool:
    """Whether a local folder is better streamed, with a method that allows it."""
    from quant.methods.registry import get_method

    entry = get_method(method or (formats.method if isinstance(formats, Plan) else "rtn"))
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    return size > STREAMED_FROM and entry.scope == "layer" and entry.calibration != "required"


def _calibration(tokenizer: Any, method: str, formats: str | Plan, count: int) -> Any:  # noqa: ANN401
    """Calibration tokens where the method looks at any."""
    from quant.methods.registry import get_method
    from quant.models.texts import calibration_tokens

    named = method or (formats.method if isinstance(formats, Plan) else "rtn")
    needed = get_method(named).calibration != "none"
    return calibration_tokens(tokenizer, count) if needed else None


def _formats(format_: str, plan: Path | None) -> str | Plan:
    if bool(format_) == (plan is not None):
        raise RequestError("one of --format and --plan is needed")
    return str(parse_spec(format_)) if plan is None else Plan.load(plan)


def _bits(report: QuantizationReport) -> str:
    return (
        f"{len(report.layers)} layers at {report.effective_bits:.3f} effective bits, "
        f"whole model {report.whole_model_bits:.3f} bits a weight"
    )


def _print(rows: list[dict[str, Any]], output: Output) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    if output == "csv":
        import pandas as pd

        print(pd.DataFrame(rows, columns=names).to_csv(index=False), end="")
        return
    table = Table(*names)
    for row in rows:
        table.add_row(*(_cell(row.get(name, "")) for name in names))
    Console().print(table)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
