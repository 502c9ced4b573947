"""LLM-Viewer's analysis in the shapes of our reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quant.common.output import Report, frame_of
from quant.common.tables import table_of
from roofline.compat.llm_viewer import BYTE_FIELDS, LlmViewerOp, LlmViewerResult

HEAD = "lm_head"


def op_rows(result: LlmViewerResult, phase: str) -> list[dict[str, Any]]:
    """Return the ops with our keys and theirs; ``count`` is how many layers have one."""
    ops = getattr(result, phase).ops
    return [_row(op, 1 if op.name == HEAD else result.layers) for op in ops]


def _row(op: LlmViewerOp, count: int) -> dict[str, Any]:
    ours = {
        "name": op.name,
        "op": op.name,
        "count": count,
        "macs": op.OPs / 2,
        "ops": op.OPs,
        "weight_bytes": op.load_weight,
        "activation_bytes": op.load_act + op.store_act,
        "kv_bytes": op.load_kv_cache + op.store_kv_cache,
        "bytes": op.memory_access,
        "arithmetic_intensity": op.arithmetic_intensity,
        "bound": op.bound,
        "time_s": op.inference_time,
    }
    return ours | {name: getattr(op, name) for name in ("OPs", *BYTE_FIELDS, "memory_access")}


def compat_report(result: LlmViewerResult, request: Mapping[str, Any], title: str) -> Report:
    """Return the report (``roofline.report/1``); the phase's totals stand under ``llm_viewer``."""
    phase = request["phase"]
    total = getattr(result, phase).total
    sizes = {
        "weights": total["memory_consumption_weight"],
        "kv_cache": total["memory_consumption_kv_cache"],
        "activations": total["memory_consumption_tmp_act"],
        "total": total["memory_consumption"],
    }
    ops = op_rows(result, phase)
    content = {**request, "time_s": total["inference_time"], "memory_bytes": sizes, "fits": None}
    content |= {"llm_viewer": total, "ops": ops}
    lines = [
        {
            "op": row["name"],
            "n": row["count"],
            "OPs": f"{row['OPs']:.4g}",
            "memory_access": f"{row['memory_access']:.4g}",
            "bound": row["bound"],
            "us": f"{row['time_s'] * 1e6:.4g}",
        }
        for row in ops
    ]
    note = (
        f"inference_time {total['inference_time'] * 1e3:.4g} ms, memory_consumption "
        f"{total['memory_consumption'] / 1e9:.4g} GB (LLM-Viewer's own formulas)"
    )
    return Report(
        title,
        "roofline.report/1",
        lambda: content,
        lambda: [table_of(lines, title, [note])],
        lambda: frame_of(ops),
    )
