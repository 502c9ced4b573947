"""LLM-Viewer's analysis in the shapes of our reports."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from quant.common.cli import to_json
from roofline.compat.llm_viewer import BYTE_FIELDS, LlmViewerOp, LlmViewerResult

if TYPE_CHECKING:
    import pandas as pd

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


def to_compat_json(result: LlmViewerResult, request: dict[str, Any]) -> str:
    """Return the JSON report; the phase's totals keep their names under ``llm_viewer``."""
    total = getattr(result, request["phase"]).total
    sizes = {
        "weights": total["memory_consumption_weight"],
        "kv_cache": total["memory_consumption_kv_cache"],
        "activations": total["memory_consumption_tmp_act"],
        "total": total["memory_consumption"],
    }
    content = {**request, "time_s": total["inference_time"], "memory_bytes": sizes, "fits": None}
    ops = op_rows(result, request["phase"])
    return to_json("roofline.report/1", {**content, "llm_viewer": total, "ops": ops})


def to_compat_frame(result: LlmViewerResult, phase: str) -> pd.DataFrame:
    """Return one row an op."""
    import pandas as pd

    return pd.DataFrame(op_rows(result, phase))


def to_compat_table(result: LlmViewerResult, phase: str, title: str) -> str:
    """Return a table for people, 80 columns wide."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("op", "n", "OPs", "memory_access", "bound", "us"):
        table.add_column(name, justify="left" if name in {"op", "bound"} else "right")
    for row in op_rows(result, phase):
        cells = (f"{row['OPs']:.4g}", f"{row['memory_access']:.4g}", row["bound"])
        table.add_row(row["name"], str(row["count"]), *cells, f"{row['time_s'] * 1e6:.4g}")
    out = io.StringIO()
    Console(file=out, width=80).print(table)
    total = getattr(result, phase).total
    memory = total["memory_consumption"] / 1e9
    return out.getvalue() + (
        f"inference_time {total['inference_time'] * 1e3:.4g} ms, memory_consumption "
        f"{memory:.4g} GB (LLM-Viewer's own formulas)\n"
    )
