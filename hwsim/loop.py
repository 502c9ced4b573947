"""The loop: formats for the layers of a model on a machine, chosen, measured and simulated."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwsim.study.request import Request, check_request
from hwsim.study.result import CodesignResult
from hwsim.study.study import Study
from quant.common import arguments
from quant.common.goal import Goal
from quant.common.job import job
from quant.common.output import check_writable
from quant.plan import Plan


def run(request: Request) -> CodesignResult:
    """Choose a plan, measure it beside the baseline and its uniform neighbours, run a block.

    Raises:
        RequestError: as ``check_request`` before a weight is read, then as ``codesign``.
    """
    check_request(arguments.one_of("request", request, Request, "a Request"))
    return measured(Study(request))


def measured(study: Study) -> CodesignResult:
    """Return all results of a study: see ``run``."""
    request = study.request
    selection = study.select(request.budgets)
    choice = study.choice(selection)
    alternatives = study.alternatives(choice)
    baseline = study.perplexity({}, "baseline")
    chosen, tensors = study.measure("plan", choice, is_plan=True)
    neighbours = [
        study.measure(str(spec), study.uniform(spec))[0]
        for spec in study.neighbours(study.bits(choice))
    ]
    return CodesignResult(
        request=request,
        machine=study.machine,
        conditions=study.conditions,
        formats=tuple(study.formats),
        costs=study.costs,
        loss=study.loss,
        scenario=study.work,
        selection=selection,
        plan=study.plan(choice),
        alternatives=alternatives,
        baseline=baseline,
        chosen=chosen,
        neighbours=tuple(neighbours),
        exact=tuple(study.exact(tensors)),
        tensors=tensors,
    )


def run_into(request: Request, folder: Path, *, overwrite: bool = False) -> dict[str, Any]:
    """Do what ``run`` does and write the report's folder; return its manifest.

    Every perplexity is kept as it is measured, and a run that was cut goes on; a finished folder of
    the same request is left as it is.

    Args:
        request: What is asked for.
        folder: Whole or absent.
        overwrite: Take the place of an older report of another request.

    Raises:
        RequestError: as ``run``, or a folder that may not be replaced.
        HwsimError: another process writes there, or the disk is full.
    """
    from hwsim.report.codesign import SCHEMA, write_report

    asked: dict[str, Any] = {"asked": asdict(request)}
    Goal(folder, SCHEMA, asked, overwrite=overwrite).check()
    check_request(request)
    check_writable(folder)
    study = Study(request)
    with job(Goal(folder, SCHEMA, {**asked, **study.identity()}, overwrite=overwrite)) as work:
        if work.made is None:
            study.journal = work
            write_report(measured(study), work)
        return work.made or {}


def codesign(
    model: str | Path,
    accelerator: str | Path,
    *,
    max_effective_bits: float | None = None,
    max_prefill_time: float | None = None,
    max_decode_time: float | None = None,
    prompt: int = 256,
    generate: int = 32,
    batch: int = 1,
    tokens: int = 16384,
    context: int = 1024,
    exact_tokens: int = 64,
    time_limit: float = 120.0,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> Plan:
    """Return the plan with the least expected loss for a model on a machine within budgets.

    A plan that the solver did not prove optimal in its time comes with a warning that says how far
    from optimal it may be. ``hwsim.loop.run`` returns all results, not the plan alone.

    Args:
        model: Built-in name, folder or hub id.
        accelerator: Built-in name or TOML file.
        max_effective_bits: Stored bits per weight over the block layers.
        max_prefill_time: Seconds from prompt to first token.
        max_decode_time: Seconds per generated token, on average.
        prompt: Tokens of the prompt.
        generate: Tokens generated.
        batch: Sequences.
        tokens: Evaluation tokens.
        context: Tokens of an evaluation window.
        exact_tokens: Evaluation tokens that one block computes bit-exactly.
        time_limit: Seconds that the solver may take for a choice.
        out: If given, the plan is measured too, and report and checkpoint are written there.
        overwrite: Take the place of an older report of another request.

    Raises:
        RequestError: unknown names, no budget, or one that is infeasible (the smallest feasible
            is stated), windows longer than the model has positions, or a folder with other files.
    """
    folder = None if out is None else arguments.path("out", out)
    request = Request(
        model=model,  # type: ignore[arg-type]  # which makes a text of a path
        accelerator=accelerator,  # type: ignore[arg-type]  # the same
        max_effective_bits=max_effective_bits,
        max_prefill_time=max_prefill_time,
        max_decode_time=max_decode_time,
        prompt=prompt,
        generate=generate,
        batch=batch,
        tokens=tokens,
        context=context,
        exact_tokens=exact_tokens,
        time_limit=time_limit,
    )
    check_request(request)
    if folder is None:
        study = Study(request)
        selection = study.select(request.budgets)
        plan = study.plan(study.choice(selection))
        proved, said = selection.proved, str(selection)
    else:
        made = run_into(request, folder, overwrite=overwrite)
        plan = Plan.load(folder / "plan.toml")
        proved, said = made["proved"], made["selection"]
    if not proved:
        warnings.warn(f"the plan is not proved optimal: {said}", stacklevel=2)
    return plan
