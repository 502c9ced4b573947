"""Commands of the ``roofline`` tool that sweep, calibrate and validate."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from quant.common.cli import to_json
from quant.common.errors import RequestError
from quant.common.files import atomic_path, write_text
from roofline.bounds.serving import serve
from roofline.calibration.laws import calibrate, load_calibration, save
from roofline.devices.device import load_hardware

if TYPE_CHECKING:
    import pandas as pd

measure = typer.Typer()
SUFFIXES = (".csv", ".parquet")


@measure.command()
def sweep(
    model: str,
    hardware: Annotated[list[str], typer.Argument(help="Devices.")],
    phase: Annotated[Literal["prefill", "decode"], typer.Option()] = "decode",
    batch: Annotated[str, typer.Option(help="1,2,4 or FIRST:LAST[:STEP].")] = "1",
    context: Annotated[str, typer.Option(help="As --batch.")] = "2048",
    weights: Annotated[str, typer.Option(help="Formats, separated by commas.")] = "fp16",
    kv: Annotated[str, typer.Option(help="Formats of the KV cache.")] = "fp16",
    activations: Annotated[str, typer.Option(help="Formats of activations.")] = "fp16",
    tp: Annotated[str, typer.Option(help="Devices that share every layer.")] = "1",
    calibrated: Annotated[bool, typer.Option("--calibrated/--ideal")] = False,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="CSV or Parquet file.")] = None,
) -> None:
    """Analyze every combination of batch, context, formats and devices.

    Example: roofline sweep llama-3.1-8b h100-sxm a100-80g --batch 1:64 --context 1024,4096 -o s.csv
    """
    from roofline.bounds.sweep import sweep as sweep_all

    if out is not None and out.suffix not in SUFFIXES:
        raise RequestError(f"out {str(out)!r}: the name must end in {' or '.join(SUFFIXES)}")
    w, k, a = (text.split(",") for text in (weights, kv, activations))
    batches, contexts, many = (
        numbers("batch", batch),
        numbers("context", context),
        numbers("tp", tp),
    )
    frame = sweep_all(
        model, hardware, phase, batches, contexts, w, k, a, many, calibrated=calibrated
    )
    if out is None:
        print(frame.to_csv(index=False), end="")
        return
    with atomic_path(out) as temporary:
        if out.suffix == ".parquet":
            frame.to_parquet(temporary)
        else:
            frame.to_csv(temporary, index=False)


def numbers(what: str, text: str) -> list[int]:
    """Return the integers of ``1,2,4`` or ``FIRST:LAST[:STEP]`` (the last included).

    Raises:
        RequestError: it is neither.
    """
    try:
        if ":" in text:
            first, last, *step = (int(part) for part in text.split(":"))
            found = list(range(first, last + 1, *step[:1]))
        else:
            found = [int(part) for part in text.split(",")]
    except ValueError:
        found = []
    if not found:
        raise RequestError(f"{what} {text!r}: numbers such as 1,2,4 or 1:64:8 are needed")
    return found


@measure.command("serve")
def serve_(
    model: str,
    hardware: str,
    isl: Annotated[int, typer.Option(help="Tokens of a prompt.")] = 1024,
    osl: Annotated[int, typer.Option(help="Tokens generated for it.")] = 256,
    concurrency: Annotated[int, typer.Option(help="Sequences at a time.")] = 16,
    weights: Annotated[str, typer.Option(help="Format.")] = "fp16",
    activations: Annotated[str, typer.Option(help="Format.")] = "fp16",
    kv: Annotated[str, typer.Option(help="Format of the KV cache.")] = "fp16",
    tp: Annotated[int, typer.Option(help="Devices that share every layer.")] = 1,
    ep: Annotated[int, typer.Option(help="Devices that share the experts.")] = 1,
    calibrated: Annotated[bool, typer.Option("--calibrated/--ideal")] = True,
    format_: Annotated[Literal["table", "json"], typer.Option("--format")] = "table",
) -> None:
    """Estimate time to first token and time per output token of a server.

    Example: roofline serve llama-3.1-8b h100-sxm --isl 2048 --osl 256 --concurrency 32
    """
    spec = load_hardware(hardware)
    law = load_calibration(spec) if calibrated else None
    options: dict[str, Any] = {"weights": weights, "activations": activations, "kv": kv}
    options |= {"tp": tp, "ep": ep}
    found = serve(model, spec, isl, osl, concurrency, law, **options)
    if format_ == "json":
        request = {"model": model, "hardware": spec.name, "isl": isl, "osl": osl}
        request |= {"concurrency": concurrency, **options}
        print(to_json("roofline.serve/1", request | asdict(found)))
        return
    error = f"expected error {found.expected_error:.0%}" if calibrated else "least times"
    print(f"time to first token (no queueing) {found.ttft_s * 1e3:.4g} ms")
    print(f"time per output token {found.tpot_s * 1e3:.4g} ms ({error})")
    print(f"  of which a decode step {found.decode_s * 1e3:.4g} ms, the rest new prompts")
    print(f"output {found.tokens_per_s:.4g} token/s over all sequences")
    if not found.fits:
        print(f"DOES NOT FIT in the memory of {tp} x {spec.name}")


@measure.command("calibrate")
def calibrate_(
    hardware: Annotated[list[str], typer.Argument(help="Devices.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="TOML file to write.")],
    kernels: Annotated[
        Path | None, typer.Option(help="CSV of measured kernels; default: the built-in table.")
    ] = None,
) -> None:
    """Fit efficiencies and launch floors to measured kernels.

    Example: roofline calibrate h100-sxm --kernels mine.csv -o mine.toml
    """
    found = [calibrate(load_hardware(name), kernels) for name in hardware]
    save(found, out, f"roofline calibrate {' '.join(hardware)}")
    for calibration in found:
        for name, law in calibration.kernels.items():
            print(
                f"{calibration.device} {name}: {law.cases} cases, compute {law.compute:.2f}, "
                f"memory {law.memory:.2f}, floor {law.floor_s * 1e6:.1f} us, "
                f"held-out median error {law.error:.1%}"
            )


@measure.command("validate")
def validate_(
    format_: Annotated[Literal["table", "json", "md"], typer.Option("--format")] = "table",
    out: Annotated[Path | None, typer.Option("-o", "--out", help="File to write.")] = None,
) -> None:
    """Print the error of every prediction class against measurement.

    Example: roofline validate --format md -o validation.md
    """
    from roofline.validation.report import to_validation_markdown, to_validation_table
    from roofline.validation.validation import validate

    found = validate()
    if format_ == "json":
        tables = {"kernels": _records(found.kernels), "serving": _records(found.serving)}
        text = to_json("roofline.validation/1", tables) + "\n"
    else:
        text = (to_validation_markdown if format_ == "md" else to_validation_table)(found)
    if out is None:
        print(text, end="")
    else:
        write_text(out, text)


def _records(frame: pd.DataFrame) -> list[dict[str, object]]:
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
