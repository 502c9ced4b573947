"""LLM-Viewer's own analysis (hahnyuan/LLM-Viewer; Yuan et al. 2024, arXiv 2402.16363).

Two states of it: ``main`` is commit 472f71f (2024-07-30); ``pr27`` the later main with pull
request 27 (head df2cba9, 2026-06). The formulas are theirs, with what is wrong in them: attention
that ignores the mask, an activation function of hidden width, a head that counts MACs as
operations, weights without embeddings, and more (``docs/llm_viewer.md`` lists what each changes).
Field names are theirs, so that tables map one to one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from quant.common.errors import RequestError
from roofline.compat.llm_viewer_devices import Version, device_names, find_device, peak_of
from roofline.compat.llm_viewer_models import FamilySizes, family_sizes

__all__ = ["BYTE_FIELDS", "LlmViewerOp", "LlmViewerPhase", "LlmViewerResult", "Version", "analyze"]
__all__ += ["device_names", "generate_time"]
BYTE_FIELDS = ("load_weight", "load_act", "store_act", "load_kv_cache", "store_kv_cache")
SOFTMAX, NORM, ADD, ACTIVATION = 5, 7, 1, 2
"""Operations an element."""


class LlmViewerOp(NamedTuple):
    """One op of one layer, with their field names: operations, bytes, op/s and seconds."""

    name: str
    OPs: float
    load_weight: float
    load_act: float
    store_act: float
    load_kv_cache: float
    store_kv_cache: float
    memory_access: float
    arithmetic_intensity: float
    bound: str
    performance: float
    inference_time: float


@dataclass(frozen=True)
class LlmViewerPhase:
    """The ops of one layer and the head, and the totals of the whole model."""

    ops: tuple[LlmViewerOp, ...]
    total: dict[str, float]


@dataclass(frozen=True)
class LlmViewerResult:
    """Both phases; ``layers`` is how often the layer's ops run."""

    layers: int
    prefill: LlmViewerPhase
    decode: LlmViewerPhase


class _Run(NamedTuple):
    """One request: sizes, bytes of an element, the device's two numbers."""

    model: FamilySizes
    batch: int
    tokens: int
    keys: int
    w: float
    a: float
    kv: float
    flash: bool
    tp: int
    version: Version
    peak: float
    bandwidth: float
    onchip: float
    decode: bool = False


def analyze(
    config: Mapping[str, Any],
    device: str,
    batch: int,
    seqlen: int,
    w_bit: int = 16,
    a_bit: int = 16,
    kv_bit: int | None = None,
    flash: bool = False,
    tp: int = 1,
    version: Version = "main",
) -> LlmViewerResult:
    """Return what LLM-Viewer's ``analyze`` returns.

    Args:
        config: A Hugging Face config dict of a Llama-like model, OPT, ChatGLM or GPT-J.
        device: A name of their table.
        batch: Sequences.
        seqlen: Tokens of the prompt, and cached tokens of a decode step.
        w_bit: Bits of a weight.
        a_bit: Bits of an activation.
        kv_bit: Bits of a cached number; None: as activations.
        flash: Whether attention is one op.
        tp: Devices (``pr27`` only); linear layers are divided, nothing else.
        version: Which state of the tool.

    Raises:
        RequestError: an unknown device or version, a size that is not positive, a field that the
            config lacks, or bits that the device's table has no peak for.
    """
    kv = a_bit if kv_bit is None else kv_bit
    sizes = {"batch": batch, "seqlen": seqlen, "w_bit": w_bit, "a_bit": a_bit, "kv_bit": kv}
    for name, value in (sizes | {"tp": tp}).items():
        if not isinstance(value, int) or value < 1:
            raise RequestError(f"{name} {value!r} is not allowed: a positive integer is needed")
    model = family_sizes(config)
    table = find_device(device, version)
    peak = peak_of(table, device, max(w_bit, a_bit, kv), version)
    _check_tp(model, tp, version)
    widths = (w_bit / 8, a_bit / 8, kv / 8)
    device_ = (peak, table["bandwidth"], table["onchip_buffer"])
    run = _Run(model, batch, seqlen, seqlen, *widths, flash, tp, version, *device_)
    prefill = _phase(run, _layer(run), None)
    step = run._replace(tokens=1, decode=True)
    return LlmViewerResult(model.layers, prefill, _phase(step, _layer(step), prefill))


def generate_time(
    config: Mapping[str, Any],
    device: str,
    prompt: int,
    generate: int,
    batch: int,
    w_bit: int = 16,
    a_bit: int = 16,
    kv_bit: int | None = None,
    flash: bool = False,
    version: Version = "main",
) -> float:
    """Return seconds of a prompt and the tokens after it, as ``analyze_generate_task`` has them.

    ``main`` ignores ``flash`` here.

    Raises:
        RequestError: as ``analyze``.
    """
    fused = flash and version != "main"
    options = (w_bit, a_bit, kv_bit, fused, 1, version)
    total = analyze(config, device, batch, prompt, *options).prefill.total["inference_time"]
    for keys in range(prompt, prompt + generate):
        step = analyze(config, device, batch, keys, *options)
        total += step.decode.total["inference_time"]
    return total


def _check_tp(model: FamilySizes, tp: int, version: str) -> None:
    if tp > 1 and version == "main":
        raise RequestError(f"tp {tp}: LLM-Viewer's main has no tensor parallelism; use pr27")
    sizes = {"hidden": model.hidden, "intermediate": model.inner, "KV heads": model.kv_heads}
    for name, size in sizes.items():
        if size % tp:
            raise RequestError(f"tp {tp} does not divide {name} = {size}")


def _op(
    run: _Run, name: str, ops: float, w: float, read: float, stored: float, *kv: float
) -> LlmViewerOp:
    """Bound an op: bytes of weights, activations in and out, cache in and out."""
    load_kv, store_kv = kv or (0.0, 0.0)
    access = w + read + stored + load_kv + store_kv
    intensity = ops / access
    memory = intensity < run.peak / run.bandwidth
    performance = intensity * run.bandwidth if memory else run.peak
    bound = "memory" if memory else "compute"
    moved = (w, read, stored, load_kv, store_kv, access, intensity)
    return LlmViewerOp(name, ops, *moved, bound, performance, ops / performance)


def _layer(run: _Run) -> list[LlmViewerOp]:
    """One layer: projections, attention, then element-wise ops."""
    m, tp = run.model, run.tp
    kv_width = m.hidden * m.kv_heads / m.heads
    shapes = {
        "q_proj": (m.hidden, m.hidden / tp),
        "k_proj": (m.hidden, kv_width / tp),
        "v_proj": (m.hidden, kv_width / tp),
        "out_proj": (m.hidden / tp, m.hidden),
        "gate_proj": (m.hidden, m.inner / tp),
        "up_proj": (m.hidden, m.inner / tp),
        "down_proj": (m.inner / tp, m.hidden),
    }
    rows = run.batch * run.tokens
    ops = []
    for name, (inputs, outputs) in shapes.items():
        if name == "gate_proj" and not m.gate:
            continue
        cached = name in {"k_proj", "v_proj"}
        stored = 0 if cached else outputs * rows * run.a
        kept = outputs * rows * run.kv if cached else 0
        weights = inputs * outputs
        moved = (weights * run.w, inputs * rows * run.a, stored, 0.0, kept)
        ops.append(_op(run, name, 2 * weights * rows, *moved))
    ops += _fused(run) if run.flash else _unfused(run)
    return ops + _elementwise(run, rows)


def _unfused(run: _Run) -> list[LlmViewerOp]:
    """Scores, values and softmax; a prefill's queries are counted with KV heads."""
    m, batch = run.model, run.batch
    width = m.hidden // m.heads
    scores = batch * m.heads * run.tokens * run.keys
    cache = batch * m.kv_heads * width * run.keys * run.kv
    queries = batch * (m.heads if run.decode else m.kv_heads * run.keys) * width * run.a
    outputs = batch * m.heads * width * run.tokens * run.a
    return [
        _op(run, "qk_matmul", 2 * scores * width, 0, queries, scores * run.a, cache, 0),
        _op(run, "sv_matmul", 2 * scores * width, 0, scores * run.a, outputs, cache, 0),
        _op(run, "softmax", SOFTMAX * scores, 0, scores * run.a, scores * run.a),
    ]


def _fused(run: _Run) -> list[LlmViewerOp]:
    """Attention in one op; ``main`` writes scores instead of outputs and reads per query head."""
    m, batch = run.model, run.batch
    width = m.hidden // m.heads
    main = run.version == "main"
    scores = batch * m.heads * run.tokens * run.keys
    block = min(math.ceil(run.onchip / (run.kv * width)), width)
    blocks = math.ceil(run.tokens / block)
    heads = m.heads if main else m.kv_heads
    stored = 2 * batch * m.heads * run.tokens * (run.keys if main else width) * run.a
    cache = blocks * run.keys * width * batch * heads * run.kv * 2
    ops = (4 * width + SOFTMAX) * scores
    return [
        _op(
            run,
            "fused_attention",
            ops,
            0,
            width * batch * m.heads * run.tokens * run.a,
            stored,
            cache,
            0,
        )
    ]


def _elementwise(run: _Run, rows: int) -> list[LlmViewerOp]:
    size = run.model.hidden * rows
    moved = size * run.a
    ops = [_op(run, name, NORM * size, 0, moved, moved) for name in run.model.norms]
    ops += [_op(run, name, ADD * size, 0, moved, moved) for name in ("attn_add", "mlp_add")]
    return [*ops, _op(run, "mlp_act", ACTIVATION * size, 0, 2 * moved, moved)]


def _phase(run: _Run, layer: list[LlmViewerOp], prefill: LlmViewerPhase | None) -> LlmViewerPhase:
    """Sum up: layers times the layer, then the head; memory is taken before the head is added."""
    m = run.model
    fields = ("OPs", "memory_access", *BYTE_FIELDS, "inference_time")
    total = {name: m.layers * sum(getattr(op, name) for op in layer) for name in fields}
    held = total["load_weight"] if prefill is None else prefill.total["memory_consumption_weight"]
    key = "memory_consumption_kv_cache"
    cache = total["store_kv_cache"] if prefill is None else prefill.total[key]
    live = sum(op.store_act for op in layer)
    matrix = m.hidden * m.vocabulary
    moved = (matrix * run.w, m.hidden * run.a, m.vocabulary * run.a)
    head = _op(run, "lm_head", run.batch * matrix, *moved)
    for name in fields:
        total[name] += getattr(head, name)
    total |= {
        "memory_consumption": held + cache + live,
        "memory_consumption_tmp_act": live,
        "memory_consumption_weight": held,
        key: cache,
    }
    return LlmViewerPhase((*layer, head), total)
