"""What each torch kernel is as an op: products, convolutions, attention, embeddings, the rest."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import ONE
from roofline.workloads.ops import (
    Convolution,
    Elementwise,
    Embedding,
    FlashAttention,
    Op,
)
from roofline.workloads.ops.elementwise import (
    ACTIVATION,
    COPY,
    NORM,
    OTHER,
    POOL,
    SOFTMAX,
    UNKNOWN,
)
from roofline.workloads.setting import PLAIN
from roofline.workloads.tracing_call import Call
from roofline.workloads.tracing_products import GROUPED, PRODUCTS, grouped_op, product_op

if TYPE_CHECKING:
    import torch

NO_WORK = (
    "_unsafe_view", "empty", "empty_like", "detach", "lift_fresh", "new_empty", "resize_",
    "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "empty_strided",
    "new_empty_strided", "set_", "_reshape_alias",
)  # fmt: skip
"""Kernels that touch no data."""
KINDS: Mapping[str, tuple[str, float, float]] = {
    "native_layer_norm": (NORM, 7, 0),
    "native_group_norm": (NORM, 7, 0),
    "native_batch_norm": (NORM, 2, 0),
    "_native_batch_norm_legit_no_training": (NORM, 2, 0),
    "_fused_rms_norm": (NORM, 4, 0),
    "_softmax": (SOFTMAX, 5, 1),
    "_log_softmax": (SOFTMAX, 5, 1),
    "gelu": (ACTIVATION, 5, 1),
    "silu": (ACTIVATION, 5, 1),
    "sigmoid": (ACTIVATION, 4, 1),
    "tanh": (ACTIVATION, 4, 1),
    "relu": (ACTIVATION, 1, 0),
    "hardtanh": (ACTIVATION, 2, 0),
    "hardswish": (ACTIVATION, 4, 0),
    "exp": (ACTIVATION, 1, 1),
    "rsqrt": (OTHER, 1, 1),
    "sqrt": (OTHER, 1, 1),
    "sin": (OTHER, 1, 1),
    "cos": (OTHER, 1, 1),
    "add": (OTHER, 1, 0),
    "clone": (COPY, 0, 0),
    "copy_": (COPY, 0, 0),
    "_to_copy": (COPY, 0, 0),
    "cat": (COPY, 0, 0),
    "stack": (COPY, 0, 0),
    "constant_pad_nd": (COPY, 0, 0),
}
"""Kernel to kind, operations and special functions an output; others are one operation each."""
ATTENTION = (
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
)
"""Kernels of ``[batch, heads, tokens, width]``."""
POOLS = ("max_pool2d_with_indices", "avg_pool2d", "_adaptive_avg_pool2d", "mean", "sum", "amax")
"""Kernels that read many numbers for one: an operation for each number read."""


def ops_of(call: Call, path: str) -> Iterator[Op]:
    """Yield what a kernel does, named by the module that runs it."""
    name = call.function
    if name in NO_WORK:
        return
    if name in PRODUCTS:
        yield product_op(call, path)
    elif name in GROUPED:
        yield grouped_op(call, path)
    elif name in ATTENTION:
        yield _attention(call, path)
    elif name in {"convolution", "_convolution"}:
        yield from _convolution(call, path)
    elif name == "embedding":
        yield _embedding(call, path)
    else:
        yield from _elementwise(call, path)


def _tensors(values: Sequence[Any]) -> Iterator[torch.Tensor]:
    """Yield the tensors among arguments, those in lists too."""
    import torch

    for value in values:
        if isinstance(value, torch.Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)


def _convolution(call: Call, path: str) -> Iterator[Op]:
    """A transposed one scatters: its outputs are as wide as the kernel, its bias is not."""
    import torch

    image, weight, bias = call.arguments[:3]
    transposed, groups = call.arguments[6], call.arguments[8]
    assert isinstance(call.result, torch.Tensor)
    spatial = image.shape[2:] if transposed else call.result.shape[2:]
    rows = ONE * (image.shape[0] * math.prod(spatial))
    inputs = weight.shape[0] // groups if transposed else math.prod(weight.shape[1:])
    outputs = weight.numel() // inputs
    known = call.parameter(weight)
    biased = bias is not None and call.parameter(bias) is not None
    name = path or "convolution"
    yield Convolution(
        name,
        call.activations,
        inputs,
        outputs,
        PLAIN,
        rows,
        biased and not transposed,
        tied=bool(known and known[1]),
        groups=groups,
        image=ONE * image.numel(),
    )
    if biased and transposed:
        elements = ONE * call.result.numel()
        yield Elementwise(
            f"{name}.bias", call.activations, OTHER, elements, 1, weights_read=bias.numel()
        )


def _embedding(call: Call, path: str) -> Op:
    table, ids = call.arguments[:2]
    known = call.parameter(table)
    rows, width = table.shape
    tied = bool(known and known[1])
    name, tokens = path or "embedding", ONE * ids.numel()
    return Embedding(name, call.activations, rows, width, PLAIN, tokens, tied)


def _elementwise(call: Call, path: str) -> Iterator[Op]:
    """A kernel over elements: what it reads and writes, and small parameters on the way."""
    results = list(_tensors([call.result]))
    if not results:
        return
    elements = max(1, results[0].numel())
    read, weights = 0, 0
    for tensor in _tensors(call.arguments):
        known = call.parameter(tensor)
        if known is None:
            read += tensor.numel()
        elif not known[1]:
            # An expanded view has more elements than its parameter.
            stored_elements = tensor.untyped_storage().nbytes() // tensor.element_size()
            weights += min(tensor.numel(), stored_elements)
    base = call.function.rstrip("_")
    plain = (OTHER if call.is_known else UNKNOWN, 1, 0)
    kind, operations, special = KINDS.get(call.function) or KINDS.get(base) or plain
    if call.function in POOLS:
        kind, operations = POOL, max(1.0, read / elements)
    yield Elementwise(
        f"{path}.{base}".lstrip("."),
        call.activations,
        kind,
        ONE * elements,
        operations,
        inputs=read / elements,
        weights_read=weights,
        special=special,
    )


def _attention(call: Call, path: str) -> Op:
    """Fused attention that was called as a kernel of its own."""
    query, key, value = call.arguments[:3]
    flags = dict(zip(call.names, call.arguments, strict=True))
    name = f"{path}.attention".lstrip(".")
    return attention_op(name, call.activations, (query.shape, key.shape, value.shape), flags)


def attention_op(
    name: str, activations: FormatSpec, shapes: tuple[Any, ...], flags: Mapping[str, Any]
) -> Op:
    """Return scaled dot-product attention; a mask given as a tensor hides nothing here."""
    query, key, value = shapes
    batch, heads, queries, width = math.prod(query[:-3]), query[-3], query[-2], query[-1]
    kv_heads, keys = key[-3], key[-2]
    pairs = queries * keys
    if flags.get("is_causal"):
        short = min(queries, keys)
        pairs = short * (short + 1) // 2 + max(0, queries - keys) * keys
    all_keys = ONE * (batch * keys)
    return FlashAttention(
        name,
        activations,
        heads,
        kv_heads,
        width,
        value[-1],
        activations,
        ONE * (batch * pairs),
        all_keys,
        all_keys,
        ONE * keys,
        ONE * (batch * queries),
    )
