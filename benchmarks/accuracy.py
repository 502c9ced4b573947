"""Perplexity of SmolLM2-135M by format and method, and what each method gains over rounding.

Run: ``python -m benchmarks.accuracy``. Every measurement is kept in ``reports/accuracy.json`` as
soon as it is done, so that a run that was cut goes on where it stopped; ``reports/accuracy.md`` is
written from it. Weights are rounded from float32, the model computes in bfloat16; calibration text
(C4) is not the evaluation text (Wikipedia).
"""

from __future__ import annotations

import json
import time
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

import quant
from quant.common.files import write_text
from quant.methods.registry import METHODS
from quant.models.evaluate import Perplexity

MODEL, TOKENS, CONTEXT, CALIBRATION = "smollm2-135m", 16384, 1024, 8192
REPORTS = Path(__file__).parent.parent / "reports"
GRIDS = ("bitmod3", "int3-asym", "fp3", "bitmod4", "int4-asym", "fp4", "mxfp4", "nvfp4", "nf4")
TRAINED = ("int4-asym", "bitmod3", "int3-asym")
FLOAT_ZERO = ("int4-asym:float-zero", "int3-asym:float-zero")


@dataclass(frozen=True)
class Case:
    """One measurement: weights in a format by a method, activations in another."""

    format: str
    method: str
    activations: str = ""


@dataclass(frozen=True)
class Result:
    """What came out.

    Attributes:
        case: What was measured.
        window_nll: Mean loss of each window, nat per token.
        effective_bits: Stored bits a weight over the quantized layers.
        seconds: CPU seconds of the quantization.
    """

    case: Case
    window_nll: tuple[float, ...]
    effective_bits: float
    seconds: float

    @property
    def perplexity(self) -> Perplexity:
        """The windows as a perplexity."""
        return Perplexity(self.window_nll, CONTEXT)


def cases() -> list[Case]:
    """Return the measurements in the order of their cost."""
    found = [Case(name, "rtn") for name in (*GRIDS, *FLOAT_ZERO)]
    found += [Case(name, "hqq") for name in ("int4-asym", "int3-asym")]
    found += [Case(name, "gptq") for name in (*TRAINED, "bitmod4", "fp3", "codebook3")]
    found += [Case(name, "peqa") for name in TRAINED]
    found += [Case(name, "clip") for name in GRIDS]
    found += [Case("int4-asym", method, "int8:row") for method in ("rtn", "smoothquant")]
    found += [Case(name, "awq") for name in GRIDS]
    found += [Case(name, "omniquant") for name in TRAINED]
    return found + [Case(name, "hqq") for name in GRIDS if not name.endswith("-asym")]


def main() -> None:
    """Measure what is not measured yet and write the report."""
    done = load()
    missing = [case for case in (Case("none", "rtn"), *cases()) if case not in done]
    if missing:
        model, tokenizer = quant.load_model(MODEL)
        text = quant.evaluation_tokens(tokenizer, TOKENS)
        seen = quant.calibration_tokens(tokenizer, CALIBRATION)
        for case in missing:
            done[case] = measure(model, text, seen, case)
            save(done)
            print(case, f"{done[case].perplexity.value:.3f}", flush=True)
    write_text(REPORTS / "accuracy.md", report(done))


def measure(model: torch.nn.Module, text: torch.Tensor, seen: torch.Tensor, case: Case) -> Result:
    """Quantize a copy's worth of weights, evaluate in bfloat16, and put the model back."""
    if case.format == "none":
        return Result(case, _evaluate(model, text, case), 32.0, 0.0)
    calibration = seen if METHODS[case.method].uses_calibration else None
    start = time.process_time()
    with quant.quantized(model, case.format, method=case.method, calibration=calibration) as done:
        seconds = time.process_time() - start
        return Result(case, _evaluate(model, text, case), done.effective_bits, seconds)


def load() -> dict[Case, Result]:
    """Return what earlier runs measured."""
    path = REPORTS / "accuracy.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
    results = [Result(**{**row, "case": Case(**row["case"])}) for row in rows]
    return {result.case: result for result in results}


def save(done: dict[Case, Result]) -> None:
    """Keep all measurements."""
    write_text(REPORTS / "accuracy.json", json.dumps([asdict(r) for r in done.values()], indent=0))


def report(done: dict[Case, Result]) -> str:
    """Return the report in Markdown."""
    base = done[Case("none", "rtn")].perplexity
    lines = [
        "# Accuracy by format and method",
        "",
        f"`python -m benchmarks.accuracy`: {MODEL}, {TOKENS} tokens of Wikipedia in windows of "
        f"{CONTEXT}, {CALIBRATION} calibration tokens of C4 in windows of 512. Unquantized: "
        f"{base.value:.3f}. Gains are differences of ln(perplexity) to rounding to nearest in the "
        "same format (for hqq on asymmetric integers: with the same 16-bit zero points), paired by "
        "window, with their "
        "standard errors; below zero is better. The source of the weights is Q4_1 with groups of "
        "32: compare differences, not perplexities, with other models.",
        "",
        "| format | activations | method | bits | perplexity | over unquantized | gain | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for case, result in sorted(done.items(), key=lambda item: (item[0].format, item[0].method)):
        if case.format == "none":
            continue
        over, error = result.perplexity.difference(base)
        lines.append(
            f"| {case.format} | {case.activations} | {case.method} | {result.effective_bits:.3f} | "
            f"{result.perplexity.value:.3f} | {over:.4f} ({error:.4f}) | {_gain(case, done)} | "
            f"{result.seconds:.0f} |"
        )
    return "\n".join([*lines, "", *_three_bits(done), ""])


def _three_bits(done: dict[Case, Result]) -> list[str]:
    """What GPTQ with bitmod3 gains over the best of the other formats of about three bits."""
    ours = Case("bitmod3", "gptq")
    others = [c for c in done if done[c].effective_bits < 3.5 and c.format != "bitmod3"]
    if ours not in done or not others:
        return []
    lines = []
    for case in sorted(others, key=lambda c: done[c].perplexity.ln)[:2]:
        gain, error = done[ours].perplexity.difference(done[case].perplexity)
        lines.append(
            f"GPTQ with bitmod3 ({done[ours].effective_bits:.3f} bits) against {case.method} with "
            f"{case.format} ({done[case].effective_bits:.3f} bits): {gain:.4f} ({error:.4f}) in "
            "ln(perplexity)."
        )
    return lines


def _gain(case: Case, done: dict[Case, Result]) -> str:
    suffix = ":float-zero" if case.method == "hqq" and case.format.endswith("-asym") else ""
    plain = Case(case.format + suffix, "rtn", case.activations)
    if case.method == "rtn" or plain not in done:
        return ""
    gain, error = done[case].perplexity.difference(done[plain].perplexity)
    return f"{gain:.4f} ({error:.4f})"


def _evaluate(model: torch.nn.Module, text: torch.Tensor, case: Case) -> tuple[float, ...]:
    copy = deepcopy(model).to(torch.bfloat16)
    with quant.rounded_activations(copy, case.activations or None):
        return quant.perplexity(copy, text, CONTEXT).window_nll


if __name__ == "__main__":
    main()
