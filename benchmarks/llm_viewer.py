"""What each repaired fault of LLM-Viewer changes: its numbers beside ours, op by op.

Run: ``python -m benchmarks.llm_viewer``.
"""

from __future__ import annotations

from pathlib import Path

import roofline
from quant.common.files import write_text
from roofline.compat import llm_viewer
from roofline.workloads.models import load_config

REPORT = Path("reports/llm_viewer.md")
NAMES = {
    "q_proj": "self_attn.q_proj",
    "k_proj": "self_attn.k_proj",
    "v_proj": "self_attn.v_proj",
    "out_proj": "self_attn.o_proj",
    "gate_proj": "mlp.gate_proj",
    "up_proj": "mlp.up_proj",
    "down_proj": "mlp.down_proj",
    "fused_attention": "self_attn.attention",
    "attn_norm": "input_layernorm",
    "mlp_norm": "post_attention_layernorm",
    "attn_add": "residual",
    "mlp_add": "mlp_residual",
    "mlp_act": "mlp.act_fn",
}
CASES = (("llama-2-7b", 1, 2048), ("llama-2-70b", 8, 2048))
DEVICE, OURS = "nvidia_A100_80G", "a100-80g"
HEAD = "| op | OPs, theirs | ours | ratio | bytes, theirs | ours | ratio |"


def rows(model: str, batch: int, context: int, phase: str) -> list[str]:
    """Return one row an op of a layer, the head, and the totals."""
    config = load_config(model)[1]
    found = llm_viewer.analyze(config, DEVICE, batch, context, flash=True)
    theirs = getattr(found, phase)
    work = roofline.workload(model, phase, batch, context)  # type: ignore[arg-type]
    ours = {op.name: op for op in work.ops}
    out = []
    for op in theirs.ops:
        name = f"model.layers.0.{NAMES[op.name]}" if op.name in NAMES else op.name
        right = ours[name]
        out.append(_row(op.name, op.OPs, right.ops, op.memory_access, right.bytes))
    analysis = roofline.analyze(work, OURS)
    ops = sum(op.ops for op in work.ops)
    total = theirs.total
    out.append(_row("**all layers**", total["OPs"], ops, total["memory_access"], work.bytes))
    memory = (total["memory_consumption_weight"], work.memory.weights)
    out.append(
        f"| weights in memory | | | | {memory[0]:.4g} | {memory[1]:.4g} | {_ratio(*memory)} |"
    )
    times = (total["inference_time"] * 1e3, analysis.time_s * 1e3)
    out.append(f"| least time, ms | | | | {times[0]:.4g} | {times[1]:.4g} | {_ratio(*times)} |")
    return out


def _row(name: str, a: float, b: float, c: float, d: float) -> str:
    return f"| {name} | {a:.4g} | {b:.4g} | {_ratio(a, b)} | {c:.4g} | {d:.4g} | {_ratio(c, d)} |"


def _ratio(theirs: float, ours: float) -> str:
    return f"{theirs / ours:.2f}" if ours else "-"


def main() -> None:
    """Print and write the tables."""
    lines = ["# LLM-Viewer's numbers beside ours", "", "`python -m benchmarks.llm_viewer`", ""]
    lines += [
        "16 bits, flash attention, LLM-Viewer main (472f71f) on its A100-80G. A ratio above 1:"
    ]
    lines += ["theirs is larger. Why they differ: [docs/llm_viewer.md](../docs/llm_viewer.md).", ""]
    for model, batch, context in CASES:
        for phase in ("prefill", "decode"):
            lines += [f"## {model}, {phase}, batch {batch}, context {context}", "", HEAD]
            lines += ["|---|---|---|---|---|---|---|", *rows(model, batch, context, phase), ""]
    text = "\n".join(lines)
    print(text)
    write_text(REPORT, text)


if __name__ == "__main__":
    main()
