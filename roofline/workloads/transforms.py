"""What-ifs that the literature proposes, as transforms of a workload. Each names its source.

A transform returns a new workload; the work of untouched ops stays what it was. What it does to
accuracy is not its affair.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase

from quant.common.errors import RequestError
from roofline.workloads.amounts import Expr, amount, substitute
from roofline.workloads.ops import (
    Attention,
    Elementwise,
    FlashAttention,
    Linear,
    LinearAttention,
    Op,
)
from roofline.workloads.ops.elementwise import ACTIVATION, SOFTMAX
from roofline.workloads.workload import Workload

LAYER = re.compile(r"\.(\d+)\.")


def layers_of(work: Workload) -> int:
    """Return how many layers a workload has."""
    return 1 + max((layer_of(op) or 0 for op in work.template.ops), default=-1)


def layer_of(op: Op) -> int | None:
    """Return the layer of an op; None outside the layers."""
    match = LAYER.search(op.name)
    return int(match.group(1)) if match else None


def prune_heads(work: Workload, ratio: float) -> Workload:
    """Remove a share of the heads, in whole groups that share a KV head, from every layer.

    LLM-Pruner (Ma et al. 2023, arXiv 2305.11627), FLAP (An et al. 2023, arXiv 2312.11983).

    Args:
        work: A workload.
        ratio: Share removed, 0 to below 1; rounded to whole groups, at least one stays.
    """
    _share("ratio", ratio)
    heads = [op for op in work.template.ops if isinstance(op, Attention)]
    kept = {_module(op): _kept(op.kv_heads, ratio) / op.kv_heads for op in heads}
    ops: list[Op] = []
    passed = set()
    for op in work.template.ops:
        module = _module(op)
        part = kept.get(module, 1.0)
        if isinstance(op, Attention):
            passed.add(module)
            sizes = {"heads": round(op.heads * part), "kv_heads": round(op.kv_heads * part)}
            ops.append(replace(op, **sizes))  # type: ignore[arg-type]  # fields by name
        elif isinstance(op, Linear) and module in kept:
            ops.append(_narrow(op, part, inputs=module in passed))
        elif isinstance(op, Elementwise) and module in kept:
            ops.append(replace(op, elements=op.elements * part))
        else:
            ops.append(op)
    return _with(work, ops)


def prune_channels(work: Workload, ratio: float) -> Workload:
    """Remove a share of the intermediate channels of every MLP and expert.

    FLAP (arXiv 2312.11983), Compresso (Guo et al. 2023, arXiv 2310.05015).

    Args:
        work: A workload.
        ratio: Share removed, 0 to below 1.
    """
    _share("ratio", ratio)
    inner = {_module(op) for op in work.template.ops if _is_activation(op)}
    inner -= {_module(op) for op in work.template.ops if op.mixes_tokens}
    ops: list[Op] = []
    passed = set()
    for op in work.template.ops:
        module = _module(op)
        if module not in inner or not isinstance(op, Linear | Elementwise):
            ops.append(op)
        elif isinstance(op, Elementwise):
            passed.add(module)
            ops.append(replace(op, elements=op.elements * (1 - ratio)))
        elif op.name.rpartition(".")[2] in {"gate", "router", "proj", "shared_expert_gate"}:
            ops.append(op)
        else:
            width = op.in_features if module in passed else op.out_features
            part = _kept(width, ratio) / width
            ops.append(_narrow(op, part, inputs=module in passed))
    return _with(work, ops)


def drop_layers(work: Workload, layers: float | Iterable[int]) -> Workload:
    """Remove whole layers: those named, or a share spread evenly (first and last stay).

    AmoebaLLM (Fu et al. 2024, arXiv 2411.10606), LLM-Pruner.

    Raises:
        RequestError: a layer that is not there, or a share that is not below 1.
    """
    count = layers_of(work)
    if isinstance(layers, float | int):
        _share("layers", layers)
        n = min(round(count * layers), max(0, count - 2))
        gone = {1 + (i * (count - 2)) // n for i in range(n)} if n else set()
    else:
        gone = set(layers)
        if gone - set(range(count)):
            raise RequestError(f"layers {sorted(gone - set(range(count)))}: 0 to {count - 1}")
    return _with(work, [op for op in work.template.ops if layer_of(op) not in gone])


def reduce_tokens(work: Workload, schedule: Mapping[int, float]) -> Workload:
    """Keep a share of the prompt's tokens from a layer on (merging or pruning them).

    AIM (Zhong et al. 2024, arXiv 2412.03248): visual tokens are merged before the first layer
    (layer 0 of the schedule) and pruned layer by layer.

    Args:
        work: A prefill, or a decode step after such a prefill (cached tokens are fewer).
        schedule: Layer to the share of tokens that is kept from it on; shares must not grow.

    Raises:
        RequestError: a share outside (0, 1], or one that grows.
    """
    steps = sorted(schedule.items())
    shares = [share for _, share in steps]
    if not steps or min(shares) <= 0 or max(shares) > 1 or shares != sorted(shares, reverse=True):
        raise RequestError(f"schedule {dict(steps)}: shares in (0, 1] that do not grow are needed")
    names = ("queries", "past") if work.phase == "prefill" else ("past",)

    def fewer(op: Op) -> Op:
        layer = layer_of(op)
        share = next((s for first, s in reversed(steps) if layer is not None and layer >= first), 1)
        if share == 1:
            return op
        swap: dict[str, Expr] = {n: ("ceil", ("*", n, float(share))) for n in names}
        return op.with_amounts(lambda value: substitute(value, swap))

    return _with(work, [fewer(op) for op in work.template.ops])


def linearize_attention(work: Workload, features: int = 64, window: int = 64) -> Workload:
    """Replace attention by linear attention with a short exact window.

    LoLCATs (Zhang et al. 2024, arXiv 2410.10254): learned feature maps of queries and keys, softmax
    over the last ``window`` keys, a state of ``features x value`` per head instead of a cache.

    Raises:
        RequestError: sizes below 1, or a workload whose attention is three ops.
    """
    if features < 1 or window < 1:
        raise RequestError(f"features {features}, window {window}: at least 1")
    if not any(isinstance(op, FlashAttention) for op in work.template.ops):
        raise RequestError("linearize_attention: the workload has no fused attention")
    modules = {_module(op) for op in work.template.ops if isinstance(op, FlashAttention)}
    limit = amount(("*", "batch", ("min", ("+", "past", "queries"), float(window))))
    ops: list[Op] = []
    for op in work.template.ops:
        if isinstance(op, FlashAttention):
            sizes = (op.heads, op.head_dim, op.value_dim, features, window)
            ops.append(LinearAttention(op.name, op.activations, *sizes, op.tokens))
        elif isinstance(op, Linear) and op.cached and _module(op) in modules:
            ops.append(replace(op, kept=limit))
        else:
            ops.append(op)
    return _with(work, ops)


def pad_flat_products(work: Workload, multiple: int = 64) -> Workload:
    """Round the tokens of every product up, as kernels with tiles of that height compute them.

    FlashDecoding++ (Hong et al. 2023, arXiv 2311.01282): libraries pad to 64, its flat kernels to
    8. Bytes do not grow: zero rows are made on the chip.

    Raises:
        RequestError: a multiple below 1.
    """
    if multiple < 1:
        raise RequestError(f"multiple {multiple}: at least 1")
    return _with(
        work,
        [
            replace(op, rows_padded_to=multiple) if isinstance(op, Linear) else op
            for op in work.template.ops
        ],
    )


def synchronize_softmax(work: Workload, block: int = 128) -> Workload:
    """Count the rescaling of partial results that a running maximum needs after every key block.

    FlashDecoding++ (arXiv 2311.01282, section 3) avoids it with one maximum for all blocks; a
    workload without this transform stands for that.

    Raises:
        RequestError: a block below 1.
    """
    if block < 1:
        raise RequestError(f"block {block}: at least 1")
    ops: list[Op] = []
    for op in work.template.ops:
        ops.append(op)
        if isinstance(op, FlashAttention):
            each = op.heads * (op.value_dim + 2) / block
            name = f"{op.name}.rescale"
            act = op.activations
            ops.append(Elementwise(name, act, SOFTMAX, op.pairs * each, 2, inputs=0, written=0))
    return _with(work, ops)


def sparsify(work: Workload, n: int, m: int, pattern: str = "*.layers.*") -> Workload:
    """Keep ``n`` of every ``m`` weights along the inputs of the layers whose path matches.

    Mishra et al. 2021, arXiv 2104.08378: each kept weight has an index of ``ceil(log2 m)`` bits;
    sparse matrix units skip the others.

    Raises:
        RequestError: n outside 1 to m, or a pattern that matches nothing.
    """
    if not 1 <= n <= m:
        raise RequestError(f"{n}:{m} sparsity: 1 to m of m weights")
    bits = math.ceil(math.log2(m)) if m > 1 else 0
    density, index_bits = n / m, float(bits if n < m else 0)
    sparse: dict[str, Op] = {
        op.name: replace(op, density=density, index_bits=index_bits)
        for op in work.template.ops
        if isinstance(op, Linear) and fnmatchcase(op.name, pattern)
    }
    if not sparse:
        raise RequestError(f"pattern {pattern!r} matches no matrix of {work.model}")
    return _with(work, [sparse.get(op.name, op) for op in work.template.ops])


def _with(work: Workload, ops: Iterable[Op]) -> Workload:
    return replace(work, template=replace(work.template, ops=tuple(ops)))


def _share(what: str, ratio: float) -> None:
    if not 0 <= ratio < 1:
        raise RequestError(f"{what} {ratio}: 0 to below 1 is allowed")


def _module(op: Op) -> str:
    """The module that an op belongs to: its path without the last part."""
    return op.name.rpartition(".")[0]


def _is_activation(op: Op) -> bool:
    """Whether an op is an activation function: its module is an MLP, if it mixes no tokens."""
    return isinstance(op, Elementwise) and op.what == ACTIVATION


def _kept(whole: int, ratio: float) -> int:
    return max(1, round(whole * (1 - ratio)))


def _narrow(op: Linear, part: float, *, inputs: bool) -> Linear:
    """Scale the inputs, or the outputs and what of them goes to the cache."""
    if inputs:
        return replace(op, in_features=round(op.in_features * part))
    return replace(op, out_features=round(op.out_features * part), cached=round(op.cached * part))
