"""The report folder of a co-design run: Markdown, CSV, plan, figures, checkpoint."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

import roofline
from hwsim.report import prose
from hwsim.report.figures import accuracy_points, draw_accuracy, draw_format_map
from hwsim.simulation.own import with_own_formats
from hwsim.study import fingerprint
from hwsim.study.result import Candidate, CodesignResult
from quant.checkpoints.folder import save_quantized
from quant.common import arguments
from quant.common.goal import Goal
from quant.common.job import Job, job
from quant.common.output import save_figure
from quant.common.sealed import digest
from quant.common.tables import number, table_of, to_markdown
from quant.common.versions import made_by

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARK, PLAN = "codesign.md", "plan.toml"
SCHEMA = "hwsim.codesign/1"
DIGITS = 5
"""Significant digits in the report's tables; the CSV files have all."""


def save_report(
    result: CodesignResult, folder: str | Path, *, overwrite: bool = False
) -> dict[str, Any]:
    """Write everything to a folder, whole or absent; return its manifest.

    Args:
        result: Of ``hwsim.loop.run``.
        folder: Nothing is done where it holds just this already.
        overwrite: Take the place of an older report; files that are not of it stay.

    Raises:
        RequestError: a folder that holds anything but a report, or another one.
        HwsimError: another process writes there, or the disk is full.
    """
    measured = {c.name: list(c.perplexity.window_nll) for c in result.candidates}
    request: dict[str, Any] = {
        "asked": asdict(result.request),
        "measured": measured,
        "plan": result.plan.layers,
    }
    request |= {"machine": digest(fingerprint.describe(result.machine)), **made_by()}
    goal = Goal(arguments.path("folder", folder), SCHEMA, request, overwrite=overwrite)
    with job(goal) as work:
        if work.made is None:
            write_report(result, work)
        return work.made or {}


def write_report(result: CodesignResult, work: Job) -> None:
    """Write everything as the result of a job."""
    planned = result.scenario.with_weights(result.plan.specs)
    prefill = with_own_formats(planned, result.machine).parts[0][0]
    figures = {
        "roofline.svg": roofline_figure(roofline.analyze(prefill, result.machine.hardware_spec())),
        "format_map.svg": draw_format_map(result.plan),
        "accuracy.svg": draw_accuracy(accuracy_points(result)),
    }
    target = work.folder
    for name, figure in figures.items():
        save_figure(figure, target / name, "svg")
    result.plan.save(target / PLAN)
    layer_table(result).to_csv(target / "layers.csv", index=False, lineterminator="\n")
    candidate_table(result).to_csv(target / "candidates.csv", index=False, lineterminator="\n")
    if result.tensors:
        save_quantized(target / "checkpoint", result.tensors, model=result.request.model)
    (target / MARK).write_text(markdown(result), encoding="utf-8")
    selection = {"proved": result.selection.proved, "selection": str(result.selection)}
    work.finish(selection, work.written())


def roofline_figure(analysis: roofline.Analysis) -> Figure:
    """Return the roofline with the layers on it."""
    from roofline.reports.figure import draw_roofline

    return draw_roofline(analysis)


def layer_table(result: CodesignResult) -> pd.DataFrame:
    """Return one row a matrix: format, bits, expected loss, cycles of prefill and decode."""
    planned = result.scenario.with_weights(result.plan.specs)
    paths = {op.name: op.paths for work, _ in planned.parts for op in work.template.ops}
    cycles: dict[tuple[str, str], float] = {}
    for op in result.chosen.simulation.ops:
        own, spent = paths.get(op.name, ()), op.repeats * op.cycles
        for path in own:  # experts of a stack share its cycles
            key = (path, op.phase)
            cycles[key] = cycles.get(key, 0) + (spent if len(own) == 1 else spent / len(own))
    matrices = result.scenario.parts[0][0].inventory
    rows = []
    for path, spec in result.plan.specs.items():
        text, shape = str(spec), matrices[path].shape
        expected = result.loss.loc[path, text] if path in result.loss.index else None
        rows.append(
            {
                "layer": path,
                "format": text,
                "effective_bits": spec.effective_bits(*shape),
                "expected_nat_per_token": expected,
                "prefill_cycles": cycles[path, "prefill"],
                "decode_cycles": cycles[path, "decode"],
            }
        )
    return pd.DataFrame(rows)


def candidate_table(result: CodesignResult) -> pd.DataFrame:
    """Return one row a measured choice, the baseline first."""
    base = result.baseline
    rows: list[dict[str, Any]] = [
        {"choice": "baseline", "ppl": base.value, "ln_ppl": base.ln, "se": base.standard_error}
    ]
    rows += [_row(candidate, result) for candidate in result.candidates]
    return pd.DataFrame(rows)


def _row(candidate: Candidate, result: CodesignResult) -> dict[str, Any]:
    measured, simulated = candidate.perplexity, candidate.simulation
    delta, error = measured.difference(result.baseline)
    phases = simulated.time_by_phase()
    return {
        "choice": candidate.name,
        "ppl": measured.value,
        "ln_ppl": measured.ln,
        "se": measured.standard_error,
        "delta_ln_ppl": delta,
        "delta_se": error,
        "expected_delta": candidate.expected,
        "effective_bits": candidate.effective_bits,
        "whole_model_bits": candidate.whole_model_bits,
        "prefill_s": phases.get("prefill", 0.0),
        "decode_s_per_token": phases.get("decode", 0.0) / result.request.generate,
        "energy_j": simulated.energy_j,
        "area_um2": simulated.area_um2,
    }


def markdown(result: CodesignResult) -> str:
    """Return the report as Markdown; all its sentences are ``hwsim.report.prose``'s."""
    files = ["manifest.json", PLAN, "layers.csv", "candidates.csv"]
    files += ["checkpoint/"] * bool(result.tensors)
    lines = [
        f"# {result.request.model} on {result.request.accelerator}",
        f"Made by `{result.request.command}`.",
        prose.setting(result),
        "## Measured choices",
        _table(candidate_table(result)),
        prose.columns(result),
        "![accuracy against cost](accuracy.svg)",
        "## Plan",
        prose.choice(result),
        "![format by layer](format_map.svg)",
        "## Where the time goes",
        prose.times(result),
        "![roofline of the prefill](roofline.svg)",
        "## One block, bit for bit",
        prose.block(result),
        *([_table(pd.DataFrame(map(vars, result.exact)))] if result.exact else []),
        f"Files: {', '.join(f'`{name}`' for name in files)}.",
    ]
    return "\n\n".join(lines) + "\n"


def _table(frame: pd.DataFrame) -> str:
    """A Markdown table; NaN (not measured) is an empty cell."""
    rows = [
        {str(name): _cell(value) for name, value in row.items()} for row in frame.to_dict("records")
    ]
    return to_markdown(table_of(rows)).rstrip("\n")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else number(value, DIGITS)
    return str(value)
