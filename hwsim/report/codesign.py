"""The report folder of a co-design run: Markdown, CSV, plan, figures, checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

import roofline
from hwsim.report.figures import accuracy_points, draw_accuracy, draw_format_map
from hwsim.study.result import Candidate, CodesignResult
from quant.checkpoints.folder import save_quantized
from quant.common.files import atomic_folder, check_folder
from quant.plan import HEAD

MARK = "codesign.md"


def check_report_folder(folder: Path) -> None:
    """Raise a RequestError for a folder with content that is no former report."""
    check_folder(folder, MARK)


def write_report(result: CodesignResult, folder: Path) -> None:
    """Write everything; an older report is replaced as a whole."""
    check_report_folder(folder)
    simulated = result.candidates[0].simulation
    planned = result.scenario.with_weights({p: t.spec for p, t in result.tensors.items()})
    prefill = roofline.analyze(planned.parts[0][0], simulated.accelerator.hardware_spec())
    figures = {
        "roofline.svg": roofline_figure(prefill),
        "format_map.svg": draw_format_map(result.plan),
        "accuracy.svg": draw_accuracy(accuracy_points(result)),
    }
    with atomic_folder(folder) as target:
        for name, figure in figures.items():
            figure.savefig(target / name, metadata={"Date": None})
        result.plan.save(target / "plan.toml")
        layer_table(result).to_csv(target / "layers.csv", index=False)
        candidate_table(result).to_csv(target / "candidates.csv", index=False)
        save_quantized(target / "checkpoint", result.tensors, model=result.request.model)
        (target / MARK).write_text(markdown(result), encoding="utf-8")


def roofline_figure(analysis: roofline.Analysis) -> Any:  # noqa: ANN401  matplotlib's Figure
    """Return the roofline with the layers on it."""
    from roofline.reports.figure import draw_roofline

    return draw_roofline(analysis)


def layer_table(result: CodesignResult) -> pd.DataFrame:
    """Return one row a layer: format, bits, expected loss, cycles of prefill and decode."""
    result_ops = result.candidates[0].simulation.ops
    cycles: dict[tuple[str, str], float] = {}
    for op in result_ops:
        key = (op.name, op.phase)
        cycles[key] = cycles.get(key, 0) + op.repeats * op.cycles
    rows = []
    for path, tensor in result.tensors.items():
        text = result.plan.layers[path]
        expected = result.loss.loc[path, text] if path in result.loss.index else None
        rows.append(
            {
                "layer": path,
                "format": text,
                "effective_bits": tensor.effective_bits,
                "expected_nat_per_token": expected,
                "prefill_cycles": cycles.get((path, "prefill"), 0),
                "decode_cycles": cycles.get((path, "decode"), 0),
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
    """Return the report as Markdown."""
    request, chosen = result.request, result.candidates[0]
    budgets = ", ".join(f"{name} at most {value:g}" for name, value in request.budgets.items())
    mix: dict[str, int] = {}
    for path, text in result.plan.layers.items():
        if path != HEAD:
            mix[text] = mix.get(text, 0) + 1
    ops = chosen.simulation.ops
    bound = sum(op.repeats * op.cycles for op in ops if op.bound == "memory")
    lines = [
        f"# {request.model} on {request.accelerator}",
        f"Made by `{request.command}`.",
        f"Budget: {budgets}. Scenario: prompt {request.prompt}, {request.generate} generated "
        f"tokens, batch {request.batch}. Perplexity on {request.tokens} tokens of Wikipedia text "
        f"in windows of {request.context}, bfloat16 compute; formats were chosen on C4 text. The "
        "baseline is the dequantized checkpoint.",
        "## Measured choices",
        _table(candidate_table(result)),
        "`se` is the standard error of ln(ppl) over windows; `delta_se` that of the paired "
        "difference to the baseline. Effective bits are over the block layers; whole-model bits "
        "include the embeddings at the checkpoint's own precision and the head at "
        f"{result.plan.layers.get(HEAD, 'fp16')}.",
        "![accuracy against cost](accuracy.svg)",
        "## Plan",
        "Layers by format: "
        + ", ".join(f"{n} x `{text}`" for text, n in sorted(mix.items()))
        + ".",
        "![format by layer](format_map.svg)",
        "## Where the time goes",
        f"{bound / chosen.simulation.cycles:.0%} of the simulated cycles are spent in ops bound by "
        "memory. 3- and 4-bit codes cost the same cycles, so prefill time and decode time ask for "
        "different plans: decode follows bytes, prefill follows terms.",
        "![roofline of the prefill](roofline.svg)",
        "## One block, bit for bit",
        f"All linear layers of one block on {request.exact_tokens} real tokens in the PE's "
        "arithmetic, against the exact product of the same codes; errors over mean |y|.",
        _table(pd.DataFrame([vars(layer) for layer in result.exact])),
        "Files: `plan.toml`, `layers.csv`, `candidates.csv`, `checkpoint/`.",
    ]
    return "\n\n".join(lines) + "\n"


def _table(frame: pd.DataFrame) -> str:
    """A Markdown table."""
    head = "| " + " | ".join(frame.columns) + " |"
    rule = "|" + "---|" * len(frame.columns)
    body = ["| " + " | ".join(_cell(v) for v in row) + " |" for row in frame.to_numpy().tolist()]
    return "\n".join([head, rule, *body])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.5g}"  # noqa: PLR0124  NaN: not measured
    return str(value)
