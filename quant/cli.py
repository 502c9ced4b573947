"""The ``quant`` command: list formats and models, show a format, quantize and evaluate a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich.console import Console
from rich.table import Table

from quant.common.cli import run, to_json
from quant.common.errors import RequestError
from quant.formats import FORMATS, get_format
from quant.plan import Plan
from quant.spec import parse_spec

if TYPE_CHECKING:
    from quant.apply import QuantizationReport

Output = Literal["table", "json", "csv"]
OutputOption = Annotated[Output, typer.Option("--output", help="How results are printed.")]
app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)


def main() -> None:
    """Run the ``quant`` command."""
    run(app, "quant")


@app.command("list")
def list_(output: OutputOption = "table") -> None:
    """List the number formats and the built-in models.

    Example: quant list
    """
    from quant.catalog import MODELS

    formats = [
        {
            "name": entry.name,
            "element_bits": entry.element_bits,
            "special_values": ", ".join(f"{value:g}" for value in entry.special_values),
            "source": entry.source,
        }
        for entry in FORMATS.values()
    ]
    models = [
        {
            "name": m.name,
            "hub_id": m.hub_id,
            "license": m.license,
            "offline_package": bool(m.package),
        }
        for m in MODELS.values()
    ]
    if output == "json":
        print(to_json("quant.list/1", {"formats": formats, "models": models}))
    else:
        _print(formats, output)
        _print(models, output)


@app.command()
def show(name: str, output: OutputOption = "table") -> None:
    """Show a format: the value of each code, for each special value.

    Example: quant show bitmod3
    """
    entry = get_format(name)
    tables = entry.tables
    columns = entry.special_values or (None,)
    rows = [
        {"code": format(code, f"0{entry.element_bits}b")}
        | {
            "value" if special is None else f"special {special:g}": float(tables[index, code])
            for index, special in enumerate(columns)
        }
        for code in range(tables.shape[1])
    ]
    if output == "json":
        facts = {"name": name, "element_bits": entry.element_bits, "source": entry.source}
        print(to_json("quant.show/1", {**facts, "codes": rows}))
    else:
        print(f"{name}: {entry.element_bits} bits. {entry.source}")
        _print(rows, output)


@app.command("quantize")
def quantize_(
    model: str,
    folder: Annotated[Path, typer.Option("-o", "--out", help="Checkpoint folder to write.")],
    format_: Annotated[str, typer.Option("--format", help="NAME[:gGROUP][:SCALE].")] = "",
    plan: Annotated[Path | None, typer.Option(help="A plan file instead of one format.")] = None,
) -> None:
    """Quantize a model and write a checkpoint.

    Example: quant quantize smollm2-135m --format bitmod4:g128:int8 -o smollm2-bitmod4
    """
    formats = _formats(format_, plan)
    from quant.apply import quantize_model
    from quant.checkpoint import save_quantized
    from quant.models import load_model

    loaded, _ = load_model(model)
    report = quantize_model(loaded, formats)
    rest = {name: parameter.detach() for name, parameter in loaded.named_parameters()}
    save_quantized(folder, report.tensors, model=model, rest=rest)
    print(f"{folder}: {_bits(report)}")


@app.command("eval")
def eval_(
    model: str,
    format_: Annotated[list[str] | None, typer.Option("--format", help="May repeat.")] = None,
    plan: Annotated[Path | None, typer.Option(help="A plan file to evaluate too.")] = None,
    tokens: Annotated[int, typer.Option(help="Evaluation tokens.", min=2)] = 16384,
    context: Annotated[int, typer.Option(help="Tokens of a window.", min=2)] = 1024,
    dtype: Annotated[str, typer.Option(help="Compute type of the model.")] = "bfloat16",
    output: OutputOption = "table",
) -> None:
    """Measure perplexity, unquantized and in each format, with standard errors.

    Example: quant eval smollm2-135m --format bitmod3:g128:int8 --format bitmod4:g128:int8
    """
    choices: dict[str, str | Plan] = {text: str(parse_spec(text)) for text in format_ or []}
    if plan is not None:
        choices[str(plan)] = Plan.load(plan)
    from quant.apply import quantized
    from quant.data import evaluation_tokens
    from quant.evaluate import perplexity
    from quant.models import load_model

    loaded, tokenizer = load_model(model, dtype=dtype)
    text = evaluation_tokens(tokenizer, tokens)
    base = perplexity(loaded, text, context, label="unquantized")
    rows: list[dict[str, Any]] = [
        {"format": "none", "perplexity": base.value, "ln_ppl": base.ln, "se": base.standard_error}
    ]
    for label, choice in choices.items():
        with quantized(loaded, choice) as report:
            measured = perplexity(loaded, text, context, label=label)
        delta, error = measured.difference(base)
        rows.append(
            {"format": label, "perplexity": measured.value, "ln_ppl": measured.ln}
            | {"se": measured.standard_error, "delta_ln_ppl": delta, "delta_se": error}
            | {"effective_bits": report.effective_bits}
        )
    if output == "json":
        print(to_json("quant.eval/1", {"model": model, "tokens": tokens, "results": rows}))
    else:
        _print(rows, output)


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
