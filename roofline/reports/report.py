"""Reports of an analysis, a comparison, a sweep and a server, in every form."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from quant.common.output import Report, frame_of
from quant.common.tables import Table, table_of
from roofline.bounds.analysis import Analysis, rows
from roofline.bounds.limits import limits
from roofline.bounds.serving import Serving
from roofline.reports.figure import draw_comparison, draw_roofline, draw_sweep
from roofline.reports.tables import role_table

if TYPE_CHECKING:
    import pandas as pd


def analysis_report(
    analysis: Analysis, request: Mapping[str, Any], page: Callable[[], str] | None = None
) -> Report:
    """Return the report of an analysis (``roofline.report/1``).

    Args:
        analysis: The bounds.
        request: What was asked, in JSON's types: model, phase, batch, context, formats; ``rest``:
            what a plan leaves, in a line.
        page: The HTML page; None: the tables.
    """
    title = f"{request['model']} {request['phase']}, batch {request['batch']}, "
    title += f"context {request['context']}, {analysis.hardware.name}"
    return Report(
        title,
        "roofline.report/1",
        lambda: report_content(analysis, request),
        lambda: [role_table(analysis, title, _rest(request))],
        analysis.to_frame,
        lambda: draw_roofline(analysis),
        page,
    )


def comparison_report(frame: pd.DataFrame, request: Mapping[str, Any]) -> Report:
    """Return the report of ``compare_frame`` (``roofline.compare/1``)."""
    title = f"{request['model']} {request['phase']}, batch {request['batch']}, "
    title += f"context {request['context']}"
    lines = [
        {
            "hardware": row["hardware"],
            "weights": row["weights"],
            "ms": row["time_s"] * 1e3,
            "speedup": f"{row['speedup']:.2f}",
            "memory bound": f"{row['memory_share']:.0%}",
            "GB": row["memory_bytes"] / 1e9,
            "fits": "yes" if row["fits"] else "NO",
            "largest batch": f"{row['largest_batch']:,}",
        }
        for row in frame.to_dict("records")
    ]
    return Report(
        title,
        "roofline.compare/1",
        lambda: {**request, "rows": frame.to_dict("records")},
        lambda: [table_of(lines, title)],
        lambda: frame,
        lambda: draw_comparison(frame, title),
    )


def sweep_report(frame: pd.DataFrame, rest: str = "") -> Report:
    """Return the report of ``sweep`` (``roofline.sweep/1``).

    Args:
        frame: Its rows.
        rest: What a plan leaves, in a line; empty: no plan, or nothing.
    """

    def tables() -> Sequence[Table]:
        lines = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
        return [table_of(lines, "sweep", [rest] if rest else [], constants=True)]

    return Report(
        "sweep",
        "roofline.sweep/1",
        lambda: {"rows": frame.to_dict("records")} | ({"rest": rest} if rest else {}),
        tables,
        lambda: frame,
        lambda: draw_sweep(frame),
    )


def serving_report(served: Serving, request: Mapping[str, Any]) -> Report:
    """Return the report of a server (``roofline.serve/2``).

    Args:
        served: Its times.
        request: What was asked: model, hardware, prompt, generate, batch, formats, tp, calibrated;
            ``rest``: what a plan leaves, in a line.
    """
    error = (
        f"expected error {served.expected_error:.0%}" if request["calibrated"] else "least times"
    )
    title = f"{request['model']} on {request['tp']} x {request['hardware']}, "
    title += f"{request['batch']} sequences of {request['prompt']} + {request['generate']} tokens"
    notes = [
        f"time to first token (no queueing) {served.ttft_s * 1e3:.4g} ms",
        f"time per output token {served.tpot_s * 1e3:.4g} ms ({error})",
        f"  of which a decode step {served.decode_s * 1e3:.4g} ms, the rest new prompts",
        f"output {served.tokens_per_s:.4g} token/s over all sequences",
    ]
    notes += _rest(request)
    if not served.fits:
        notes.append(f"DOES NOT FIT in the memory of {request['tp']} x {request['hardware']}")
    content = {**request, **asdict(served)}
    table = Table((), (), title, "", tuple(notes))
    return Report(
        title, "roofline.serve/2", lambda: content, lambda: [table], lambda: frame_of([content])
    )


def _rest(request: Mapping[str, Any]) -> list[str]:
    return [request["rest"]] if "rest" in request else []


def report_content(analysis: Analysis, request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of the JSON report; SI units, raw numbers, Inf for memory without end."""
    memory, most = analysis.memory, limits(analysis.parts[0].work, analysis.hardware)
    sizes = {"weights": memory.weights, "kv_cache": memory.kv_cache}
    sizes |= {"activations": memory.activations, "total": memory.total}
    content: dict[str, Any] = {
        **request,
        "hardware": analysis.hardware.name,
        "time_s": analysis.time_s,
        "ideal_s": analysis.ideal_s,
        "memory_bytes": sizes,
        "memory_capacity_bytes": analysis.hardware.memory_capacity.value,
        "fits": analysis.fits,
        "largest": {"batch": most.batch, "context": most.context},
        "bound_share": analysis.bound_share(),
    }
    if analysis.calibration is not None:
        content["expected_error"] = analysis.expected_error
        content["borrowed"] = analysis.calibration.borrowed
    return {**content, "ops": rows(analysis)}
