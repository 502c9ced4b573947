"""Commands of the ``quant`` tool that take a model: quantize, export and evaluate it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quant.common import options
from quant.common.cli import command
from quant.common.errors import RequestError
from quant.common.options import format_name, format_names, listed, number_format
from quant.common.output import Output, Report, check_writable

if TYPE_CHECKING:
    from quant.checkpoints.stream import StreamReport
    from quant.methods.base import Method
    from quant.models.report import QuantizationReport
    from quant.plan import Formats

METHOD = "How weights are rounded (`quant list`), such as gptq, or a .py file with a method."
models = typer.Typer()


@command(models, "quantize")
def quantize_(
    model: options.Model,
    folder: Annotated[
        Path,
        typer.Option("-o", "--out", help="Checkpoint folder to write, such as smollm2-gptq."),
    ],
    weights: Annotated[str, number_format("weights", "none: this or --plan is needed")] = "",
    head: Annotated[str, number_format("head", "left alone")] = "",
    plan: options.PlanFile = None,
    method: Annotated[str, typer.Option(help=METHOD, show_default="the plan's, else rtn")] = "",
    calibration: options.Calibration = None,
    calibration_text: options.CalibrationFile = None,
    chat: options.Chat = False,
    calibration_window: options.CalibrationWindow = 512,
    calibration_batch: options.CalibrationBatch = 1,
    stream: Annotated[
        bool | None,
        typer.Option(
            help="Tensor by tensor, for models larger than memory: local folders, methods that "
            "look at one layer without inputs. Goes on where a run was cut.",
            show_default="folders above 4 GiB",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(
            "--ignore",
            help="Layers that stay as they are: paths, patterns with *, regular expressions "
            f"(re:...) or classes (type:Conv2d). {options.LISTS}.",
            show_default="none",
        ),
    ] = None,
    rest: options.Rest = "",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Quantize a model and write a checkpoint, which `quant eval` and `quant.load_model` run.

    A run that was cut goes on when it is asked for the same again; a finished one is left as it is.

    Example: quant quantize smollm2-135m --weights bitmod4:g128:int8 --method gptq -o smollm2-gptq
    """
    from quant.models.calibration import CalibrationText
    from quant.models.preflight import check_quantization
    from quant.plan import method_of

    text = CalibrationText(
        calibration, calibration_text, chat, calibration_window, calibration_batch
    )
    named = _method(method) if method else ""
    formats = _formats(weights, head, plan)
    chosen = method_of(formats, named)
    check_quantization(model, formats, chosen)
    check_writable(folder)
    from quant.checkpoints.stream import is_large, quantize_checkpoint

    if stream or (stream is None and chosen.is_streamable and is_large(Path(model))):
        done = quantize_checkpoint(
            model,
            folder,
            formats,
            method=chosen,
            model=model,
            rest_dtype=rest,
            ignore=listed(ignore, (), "ignore"),
            overwrite=overwrite,
        )
        bits = _bits(len(done.layers), done.effective_bits, done.whole_model_bits)
        _say(folder, f"finished already, {bits}" if done.was_there else bits, done, chosen)
        return
    from quant.models.checkpoint import quantize_to_folder

    written = quantize_to_folder(
        model,
        folder,
        formats,
        chosen,
        calibration=text,
        rest_dtype=rest,
        ignore=listed(ignore, (), "ignore"),
        overwrite=overwrite,
    )
    made = written.manifest  # its bits are those of what is stored: the rest may be cast
    bits = _bits(len(made["layers"]), made["effective_bits"], made["whole_model_bits"])
    if written.report is None:
        print(f"{folder}: finished already, {bits}")
    else:
        _say(folder, bits, written.report, chosen)


@command(models, "export")
def export_(
    checkpoint: Annotated[
        Path, typer.Argument(help="Checkpoint folder that `quant quantize` wrote.", metavar="DIR")
    ],
    to: Annotated[
        Literal["compressed-tensors", "gguf", "gptq", "awq"],
        typer.Option("--to", help="Layout of the export: what the runtime reads."),
    ],
    folder: Annotated[
        Path, typer.Option("-o", "--out", help="Folder to write, such as smollm2-vllm.")
    ],
    inputs: Annotated[
        Literal["none", "dynamic", "static"],
        typer.Option(
            help="How the runtime rounds inputs of int8:row and fp8-e4m3:row, in "
            "compressed-tensors: not at all, each token by its own largest, or by a scale that "
            "the calibration text gives (fp8 alone)."
        ),
    ] = "none",
    calibration: options.Calibration = None,
    calibration_text: options.CalibrationFile = None,
    chat: options.Chat = False,
    calibration_window: options.CalibrationWindow = 512,
    rest: options.Rest = "",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a quantized checkpoint as other runtimes read it: vLLM, transformers, llama.cpp.

    Codes carry over bit for bit. A layer that the layout cannot hold exactly is refused by name,
    and nothing is written.

    Example: quant export smollm2-int4 --to compressed-tensors -o smollm2-vllm
    """
    from quant.models.calibration import CalibrationText
    from quant.models.export import export

    text = CalibrationText(calibration, calibration_text, chat, calibration_window)
    check_writable(folder)
    done = export(
        checkpoint,
        folder,
        to=to,
        activations=inputs,
        calibration=text,
        rest_dtype=rest,
        overwrite=overwrite,
    )
    print(f"{folder}: {'finished already, ' if done.was_there else ''}layers: {done.said}")


@command(models, "eval")
def eval_(
    model: options.Model,
    weights: Annotated[
        list[str] | None, number_format("weights", "none: the model as it is", several=True)
    ] = None,
    activations: Annotated[str, number_format("activations", "not rounded")] = "",
    kv: Annotated[str, number_format("kv", "not rounded")] = "",
    kv_keys: Annotated[
        Literal["token", "channel"],
        typer.Option(help="Groups of keys: channels of a token, or tokens of a channel (KIVI)."),
    ] = "token",
    kv_recent: Annotated[
        int, typer.Option(help="Last tokens at each query, its own too, that stay exact.", min=0)
    ] = 0,
    kv_sinks: Annotated[
        int, typer.Option(help="First tokens of a sequence that stay exact.", min=0)
    ] = 0,
    kv_rotary: Annotated[
        Literal["before", "after"],
        typer.Option(help="When keys are rounded, of their rotary embedding."),
    ] = "before",
    head: Annotated[str, number_format("head", "left alone")] = "",
    plan: options.PlanFile = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            "--method", help=f"{METHOD} {options.LISTS}.", show_default="the plan's, else rtn"
        ),
    ] = None,
    tokens: options.Tokens = 16384,
    context: options.Window = 1024,
    calibration: options.Calibration = None,
    calibration_text: options.CalibrationFile = None,
    chat: options.Chat = False,
    calibration_window: options.CalibrationWindow = 512,
    calibration_batch: options.CalibrationBatch = 1,
    dtype: Annotated[
        str, typer.Option(help="What the model computes in: bfloat16, float16 or float32.")
    ] = "bfloat16",
    form: options.OutputForm = None,
    out: options.OutFile = None,
    quiet: options.Quiet = False,
) -> None:
    """Measure perplexity, unquantized and in each format, with standard errors.

    Example: quant eval smollm2-135m --weights bitmod3,int3-asym --method rtn,gptq
    """
    output = Output.choose(form, out)
    from quant.formats.spec import parse_spec

    methods = [_method(name) for name in listed(method, (), "method")]
    names = format_names(weights, (), "weights")
    if head and not names and plan is None:
        raise RequestError(f"head {head!r}: --weights or --plan is needed too")
    if methods and not names and plan is None:
        raise RequestError(f"method {methods[0].name!r}: --weights or --plan is needed too")
    choices: dict[str, Formats] = {text: _formats(text, head, None) for text in names}
    if plan is not None:
        choices[str(plan)] = _formats("", head, plan)
    inputs, cache = (parse_spec(format_name(text)) if text else None for text in (activations, kv))
    from quant.models.calibration import CalibrationText
    from quant.models.compare import EvaluationSetting, compare
    from quant.models.kv_options import CacheRounding

    rounding = CacheRounding(kv_keys, kv_recent, kv_sinks, kv_rotary)
    text = CalibrationText(
        calibration, calibration_text, chat, calibration_window, calibration_batch
    )
    setting = EvaluationSetting(tokens, context, text, dtype, inputs, cache, rounding)
    results = [_named(row) for row in compare(model, choices, setting, methods)]
    content = {
        "model": model,
        "tokens": tokens,
        "context": context,
        "activations": str(inputs) if inputs else None,
        "kv": str(cache) if cache else None,
        "kv_rounding": vars(rounding) if cache else None,
        "head": head or None,
        "results": results,
    }
    title = f"{model}, {tokens} tokens in windows of {context}"
    output.write(Report.of_rows(title, "quant.eval/2", results, content))


def _named(row: dict[str, Any]) -> dict[str, Any]:
    """A row of results in the words of the command line."""
    return {"weights" if key == "format" else key: value for key, value in row.items()}


def _method(text: str) -> Method:
    """The method of a name, or of a Python file that registers one."""
    from quant.methods.registry import get_method, load_method

    return load_method(Path(text)) if text.endswith(".py") else get_method(text)


def _formats(weights: str, head: str, plan: Path | None) -> Formats:
    """What is quantized to what; a plan says more of the head than ``--head``."""
    from dataclasses import replace

    from quant.formats.spec import parse_spec
    from quant.plan import HEAD, Plan

    if bool(weights) == (plan is not None):
        raise RequestError("one of --weights and --plan is needed")
    top = {HEAD: parse_spec(format_name(head))} if head else {}
    if plan is not None:
        loaded = Plan.load(plan)
        named = {path: str(spec) for path, spec in top.items()}
        return replace(loaded, layers=named | loaded.layers)
    spec = parse_spec(format_name(weights))
    return {"*": spec, **top} if top else spec


def _say(
    folder: Path, bits: str, report: QuantizationReport | StreamReport, method: Method
) -> None:
    """Print what was done: first what a user should know, then what stays as it is."""
    for line in report.warnings:
        print(f"{folder}: {line}")
    print(f"{folder}: {bits}")
    print(f"{folder}: by {method.described}")
    print(f"{folder}: as they were: {report.kept_said or 'nothing'}")


def _bits(layers: int, effective: float, whole: float) -> str:
    said = f"{layers} layers at {effective:.3f} effective bits"
    return f"{said}, whole model {whole:.3f} bits a weight"
