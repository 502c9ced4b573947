"""codesign(): formats for the layers of a model on a machine, chosen, measured and simulated."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.study.request import Request
from hwsim.study.result import CodesignResult
from hwsim.study.study import Study
from quant.plan import Plan

if TYPE_CHECKING:
    pass


def run(request: Request) -> CodesignResult:
    """Choose a plan, measure it beside the baseline and its uniform neighbours, run a block."""
    study = Study(request)
    plan = study.choose(request.budgets)
    baseline = study.perplexity({}, "baseline")
    chosen, tensors = study.measure("plan", plan.layers)
    others = [
        study.measure(text, study.uniform(text))[0]
        for text in study.neighbours(study.bits(plan.layers))
    ]
    exact = study.exact(tensors)
    candidates = (chosen, *others)
    return CodesignResult(
        request, plan, study.work, study.loss, baseline, candidates, tuple(exact), tensors
    )


def codesign(
    model: str,
    accelerator: str,
    *,
    max_effective_bits: float | None = None,
    max_prefill_time: float | None = None,
    max_decode_time: float | None = None,
    prompt: int = 256,
    generate: int = 32,
    batch: int = 1,
    out: Path | None = None,
) -> Plan:
    """Return the plan with the least expected loss for a model on a machine within budgets.

    Args:
        model: Built-in name, folder or hub id.
        accelerator: Built-in name or TOML file.
        max_effective_bits: Stored bits per weight over the block layers.
        max_prefill_time: Seconds from prompt to first token.
        max_decode_time: Seconds per generated token, on average.
        prompt: Tokens of the prompt.
        generate: Tokens generated.
        batch: Sequences.
        out: If given, the plan is measured too, and report and checkpoint are written there.

    Raises:
        RequestError: unknown names, no budget, or one that is infeasible (the smallest feasible
            is stated).
    """
    request = Request(
        model,
        accelerator,
        max_effective_bits,
        max_prefill_time,
        max_decode_time,
        prompt,
        generate,
        batch,
    )
    if out is None:
        return Study(request).choose(request.budgets)
    from hwsim.report.codesign import write_report

    result = run(request)
    write_report(result, out)
    return result.plan
