"""Perplexity by format and method, and what each method gains over rounding, of several models.

Run: ``python -m benchmarks.accuracy [MODEL ...]``; ``source16=FOLDER`` is the model that
``python -m benchmarks.source16 -o FOLDER`` trains, whose weights never were codes. Every
measurement is kept in ``reports/accuracy-MODEL.json`` as soon as it is done, so that a run that was
cut goes on where it stopped; ``reports/accuracy.md`` is written from all of them. Weights are
rounded from float32; calibration text (C4) is not the evaluation text (Wikipedia).
"""

from __future__ import annotations

import json
import sys
import time
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import torch

import quant
from benchmarks.accuracy_cases import CALIBRATION, STUDIES, Case, Result, Study
from quant.common.files import write_text
from quant.methods.registry import METHODS
from quant.models.texts import leading_token

REPORTS = Path(__file__).parent.parent / "reports"


class Text(NamedTuple):
    """What is evaluated: tokens, and what the tokenizer puts before a window (None: nothing)."""

    tokens: torch.Tensor
    bos: int | None


def main() -> None:
    """Measure what is not measured yet, of the models that are named, and write the report."""
    from benchmarks.accuracy_report import report

    for word in sys.argv[1:] or ["smollm2-135m"]:
        name, _, folder = word.partition("=")
        if name not in STUDIES:
            sys.exit(f"accuracy: {name!r} is not one of {', '.join(STUDIES)}")
        run(name, folder or name)
    done = {name: found for name in STUDIES if (found := load(name))}
    write_text(REPORTS / "accuracy.md", report(done))


def run(name: str, folder: str) -> None:
    """Measure what is missing of a model."""
    study, done = STUDIES[name], load(name)
    missing = [case for case in (Case("none", "rtn"), *study.cases) if case not in done]
    if not missing:
        return
    model, tokenizer = quant.load_model(folder)
    text = Text(quant.evaluation_tokens(tokenizer, study.tokens), leading_token(tokenizer))
    seen = quant.calibration_tokens(tokenizer, CALIBRATION)
    for case in missing:
        done[case] = measure(model, text, seen, case, study)
        save(name, done)
        print(name, case, f"{done[case].perplexity.value:.3f}", flush=True)


def measure(
    model: torch.nn.Module, text: Text, seen: torch.Tensor, case: Case, study: Study
) -> Result:
    """Quantize a copy's worth of weights, evaluate, and put the model back."""
    if case.format == "none":
        return Result(case, _evaluate(model, text, case, study), study.context, 32.0, 0.0)
    calibration = seen if METHODS[case.method].uses_calibration else None
    start = time.process_time()
    with quant.quantized(model, case.format, method=case.method, calibration=calibration) as done:
        seconds = time.process_time() - start
        losses = _evaluate(model, text, case, study)
        return Result(case, losses, study.context, done.effective_bits, seconds)


def load(name: str) -> dict[Case, Result]:
    """Return what earlier runs measured of a model."""
    path = REPORTS / f"accuracy-{name}.json"
    rows: list[dict[str, Any]] = json.loads(path.read_text()) if path.is_file() else []
    results = [Result(**{**row, "case": Case(**row["case"])}) for row in rows]
    return {result.case: result for result in results}


def save(name: str, done: dict[Case, Result]) -> None:
    """Keep all measurements of a model."""
    rows = [asdict(result) for result in done.values()]
    write_text(REPORTS / f"accuracy-{name}.json", json.dumps(rows, indent=0))


def _evaluate(model: torch.nn.Module, text: Text, case: Case, study: Study) -> tuple[float, ...]:
    copy = deepcopy(model).to(study.dtype)
    with quant.rounded_activations(copy, case.activations or None):
        return quant.perplexity(copy, text.tokens, study.context, bos=text.bos).window_nll


if __name__ == "__main__":
    main()
