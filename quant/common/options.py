"""The arguments and options that commands share, each said once: what it means and its default."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from quant.common.errors import RequestError
from quant.common.float_types import float_type
from quant.common.output import FIGURES, TABLES, Form, suffixes
from quant.common.progress import silence
from quant.common.sizes import need_count

MOST_VALUES = 1_000_000
"""Of a range."""
PROMPT, GENERATE, BATCH = 256, 32, 1
"""The scenario that commands run unless they say why not."""
BITS = {"16": "fp16", "8": "int8", "6": "int6", "5": "int5", "4": "int4", "3": "int3", "2": "int2"}
"""Plain bits, and the format that they mean."""
SCENARIO = {
    "prompt": "Tokens of the prompt.",
    "generate": "Tokens generated after the prompt.",
    "batch": "Sequences that run together.",
}
CONTEXT = "Tokens that a sequence holds in one pass through the model"
LISTS = "Repeat it, or use commas, for several"
RANGES = f"{LISTS}; FIRST:LAST[:STEP] is a range"
FORMATS = {
    "weights": "Format of the weights, NAME[:gGROUP][:SCALE] or bits, such as bitmod4:g128:int8",
    "activations": "Format of the layers' inputs, or bits, such as int8:row",
    "kv": "Format of keys and values, the KV cache, or bits, such as int4-asym:g64",
    "head": "Format of lm_head, or bits, such as int8",
}
Item = TypeVar("Item")
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite",
        help="Take the place of a finished result of another request; files that are not of it "
        "stay.",
        show_default="off",
    ),
]


def number_format(what: str, default: str | bool = True, *, several: bool = False) -> Any:  # noqa: ANN401  typer's own
    """Return the option of a number format: ``weights``, ``activations``, ``kv`` or ``head``.

    Args:
        what: Which.
        default: Words for what holds when it is not given; True: the parameter's default.
        several: Whether it takes a list.
    """
    text = f"{FORMATS[what]}. {LISTS}." if several else f"{FORMATS[what]}."
    return typer.Option(f"--{what}", help=text, show_default=default)


def output_option(offered: Sequence[str] = TABLES) -> Any:  # noqa: ANN401  typer's own
    """Return ``--output``, the form of a result."""
    default = f"what --out ends in, else {offered[0]}"
    return typer.Option("--output", help="Form of the result.", show_default=default)


def out_option(offered: Sequence[str] = TABLES) -> Any:  # noqa: ANN401  typer's own
    """Return ``--out``, the file that a result is written to."""
    example = next((form for form in ("csv", "md") if form in offered), offered[0])
    text = f"File to write, such as out.{example}; its suffix ({suffixes(offered)}) "
    text += "chooses the form."
    if "parquet" in offered:
        text += " Parquet needs the extra parquet."
    # Written to, never read: a stream that is open for writing alone will do.
    return typer.Option("-o", "--out", help=text, show_default="standard output", readable=False)


def scenario_option(flag: str, why: str = "", least: int = 1) -> Any:  # noqa: ANN401  typer's own
    """Return ``--prompt``, ``--generate`` or ``--batch``.

    Args:
        flag: Which.
        why: Why the default is another here.
        least: Smallest value that is allowed.
    """
    return typer.Option(f"--{flag}", help=f"{SCENARIO[flag]} {why}".strip(), min=least)


def context_option(why: str, least: int = 0) -> Any:  # noqa: ANN401  typer's own
    """Return ``--context``: the tokens that a sequence holds in one pass through the model."""
    return typer.Option("--context", help=f"{CONTEXT}: {why}.", min=least)


STEP = "the new ones of a prefill, or those cached before a decode step; one pass, no scenario"
Prompt = Annotated[int, scenario_option("prompt")]
Generate = Annotated[int, scenario_option("generate", least=0)]
Batch = Annotated[int, scenario_option("batch")]
Context = Annotated[int, context_option(STEP)]
Window = Annotated[
    int, context_option("a window of the evaluation text; several give a standard error", 2)
]
Past = Annotated[int, typer.Option(help="Tokens that a prefill finds cached.", min=0)]
Tokens = Annotated[int, typer.Option(help="Tokens of the evaluation text.", min=2)]
Phase = Annotated[
    Literal["prefill", "decode"],
    typer.Option(help="The pass through the model: many new tokens, or one a sequence."),
]
TensorParallel = Annotated[int, typer.Option("--tp", help="Devices that share every layer.")]
ExpertParallel = Annotated[int, typer.Option("--ep", help="Devices that share the experts.")]

Weights = Annotated[str, number_format("weights")]
Activations = Annotated[str, number_format("activations")]
Kv = Annotated[str, number_format("kv")]
Head = Annotated[str, number_format("head")]
WeightsList = Annotated[list[str] | None, number_format("weights", "fp16", several=True)]
ActivationsList = Annotated[list[str] | None, number_format("activations", "fp16", several=True)]
KvList = Annotated[list[str] | None, number_format("kv", "fp16", several=True)]

Calibration = Annotated[
    int | None,
    typer.Option(
        "--calibration-tokens",
        help="Tokens of the calibration text, for what looks at inputs.",
        show_default="8192, or as many as the widest layer has inputs",
        min=2,
    ),
]
CalibrationFile = Annotated[
    Path | None,
    typer.Option(
        "--calibration-text",
        help="UTF-8 text, or JSON Lines with text or messages a line.",
        show_default="C4 web pages",
    ),
]
Chat = Annotated[
    bool,
    typer.Option("--chat/--no-chat", help="Put calibration texts into the model's chat template."),
]
CalibrationWindow = Annotated[
    int, typer.Option("--calibration-window", help="Tokens of a calibration sequence.", min=2)
]
CalibrationBatch = Annotated[
    int, typer.Option("--calibration-batch", help="Calibration sequences at once.", min=1)
]
Rest = Annotated[
    str,
    typer.Option(
        help="Type that everything else is stored in: bfloat16 (bf16), float16 (fp16) or float32 "
        "(fp32).",
        show_default="as it is",
        callback=lambda text: float_type(text, "rest") if text else text,
    ),
]

PlanFile = Annotated[
    Path | None,
    typer.Option(
        "--plan",
        help="TOML file with the format of each layer, such as plan.toml; overrides --weights "
        "and --head for the layers that it names.",
        show_default="none",
    ),
]
Calibrated = Annotated[
    bool,
    typer.Option(
        "--calibrated/--ideal",
        help="Times expected from measured kernels, or the least that the device allows.",
    ),
]
Seed = Annotated[int, typer.Option(help="Seed of what is random.", min=0)]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q",
        "--quiet",
        help="No progress on standard error; results and errors are printed.",
        show_default="progress on terminals",
        callback=lambda quiet: silence() if quiet else None,
        is_eager=True,
    ),
]
OutputForm = Annotated[Form | None, output_option()]
OutFile = Annotated[Path | None, out_option()]
OutFigure = Annotated[Path | None, out_option(FIGURES)]

Model = Annotated[
    str,
    typer.Argument(
        help="A built-in name such as smollm2-135m (`quant list`, `roofline list models`), a "
        "folder, or a hub id."
    ),
]
Device = Annotated[
    str,
    typer.Argument(
        help="A built-in name such as h100-sxm (`roofline list hardware`), or a TOML file."
    ),
]
Devices = Annotated[
    list[str],
    typer.Argument(
        help="Built-in names such as h100-sxm (`roofline list hardware`), or TOML files."
    ),
]
Machine = Annotated[
    str,
    typer.Argument(help="A built-in name such as bitmod (`hwsim list`), or a TOML file."),
]


def listed(values: Iterable[str] | None, default: Sequence[str] = (), what: str = "") -> list[str]:
    """Return the parts of options that repeat and hold commas: ``["a,b", "c"]`` is a, b, c.

    A value that begins with ``re:`` is one part.

    Args:
        values: As given; None or empty: the default.
        default: What holds when none is given.
        what: The option, for the error.

    Raises:
        RequestError: a part is empty.
    """
    # A regular expression may hold commas: it is an option of its own.
    parts = [
        part.strip()
        for value in values or ()
        for part in ([value] if value.startswith("re:") else value.split(","))
    ]
    if not all(parts):
        raise RequestError(f"{what} {','.join(values or ())!r}: a part between commas is empty")
    return parts or list(default)


def format_name(text: str) -> str:
    """Return a format's text; plain bits are the integers of that many, or fp16."""
    return BITS.get(text, text)


def format_names(values: Iterable[str] | None, default: Sequence[str], what: str) -> list[str]:
    """Return the formats of a repeated option, see ``listed``."""
    return [format_name(text) for text in listed(values, default, what)]


def numbers(values: Iterable[str] | None, default: Sequence[int], what: str) -> list[int]:
    """Return the integers of a repeated option: ``1,2,4``, or ``FIRST:LAST[:STEP]``, last included.

    Raises:
        RequestError: a part is neither.
    """
    return _parsed(values, default, what, _range, "numbers such as 1,2,4 or 1:64:8 are needed")


def fractions(values: Iterable[str] | None, default: Sequence[float], what: str) -> list[float]:
    """Return the numbers of a repeated option.

    Raises:
        RequestError: a part is no number.
    """
    needed = "numbers such as 3.3,3.7 are needed"
    return _parsed(values, default, what, lambda part: [float(part)], needed)


def _parsed(
    values: Iterable[str] | None,
    default: Sequence[Item],
    what: str,
    parse: Callable[[str], list[Item]],
    needed: str,
) -> list[Item]:
    given = list(values or ())
    try:
        results = [parse(part) for part in listed(given, (), what)]
    except RequestError:
        raise
    except ValueError:
        raise RequestError(f"{what} {','.join(given)!r}: {needed}") from None
    if not all(results):
        raise RequestError(f"{what} {','.join(given)!r}: {needed}")
    return [number for result in results for number in result] or list(default)


def _range(text: str) -> list[int]:
    if ":" not in text:
        return [int(text)]
    first, last, *step = (int(part) for part in text.split(":"))
    if len(step) > 1:
        raise ValueError(text)
    values = range(first, last + 1, *step)
    # A length beyond the machine's integers is none; the ends tell it.
    count = (values.stop - values.start) // values.step
    need_count(count, MOST_VALUES, f"values of {text}", "take a larger step")
    return list(values)
