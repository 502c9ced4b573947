"""Attention modules: multi-head, grouped-query and multi-query, windows and chunks; and MLA."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from roofline.workloads.amounts import (
    LENGTH,
    TOKENS,
    Amount,
    amount,
    blocked_keys,
    keys_read,
    per_sequence,
    visible,
)
from roofline.workloads.models.builder import Builder
from roofline.workloads.ops import FlashAttention, Half


@dataclass(frozen=True)
class Span:
    """Which keys a query sees; see ``amounts.visible``. ``fixed``: as many as an image has."""

    window: int | None = None
    chunk: int | None = None
    causal: bool = True
    fixed: int | None = None

    @property
    def kept(self) -> Amount:
        """Tokens that the cache holds after a step."""
        limit = self.window or self.chunk
        return per_sequence(("min", LENGTH, float(limit)) if limit else LENGTH)


FULL = Span()


@dataclass(frozen=True)
class Heads:
    """The shape and details of an attention module.

    Attributes:
        hidden: Width of the residual stream.
        heads: Query heads.
        kv_heads: Key and value heads.
        width: Numbers of a head.
        rotary: Rotated numbers of a head.
        names: Paths of the projections below the module: q, k, v, o (k empty: q is fused).
        bias: Whether q, k, v have a bias.
        out_bias: Whether o has one.
        qk_norm: Norm of queries and keys: none, one weight for all heads, or all of a token.
        gate: Whether the query projection also makes a gate of the output (Qwen 3.5).
        sinks: Whether each head has a learned sink (gpt-oss).
        keys_are_values: Whether there is no value projection (Gemma 4).
    """

    hidden: int
    heads: int
    kv_heads: int
    width: int
    rotary: int = 0
    names: tuple[str, str, str, str] = ("q_proj", "k_proj", "v_proj", "o_proj")
    bias: bool = False
    out_bias: bool = False
    qk_norm: Literal["", "head", "all"] = ""
    gate: bool = False
    sinks: bool = False
    keys_are_values: bool = False


def attention(build: Builder, at: str, shape: Heads, span: Span = FULL) -> None:
    """Add projections, rotation, attention and the output projection of one module."""
    heads = build.shard(shape.heads, "heads")
    tp = build.setting.tp
    kv_heads = max(1, build.shard(shape.kv_heads, "KV heads")) if shape.kv_heads >= tp else 1
    _projections(build, at, shape, span, heads, kv_heads)
    if shape.qk_norm:
        all_ = shape.qk_norm == "all"
        for name, count in (("q_norm", heads), ("k_norm", kv_heads)):
            own = shape.width * count if all_ else shape.width
            build.norm(f"{at}.{name}", shape.width, vectors=count, weights=own)
    build.rotary(f"{at}.rotary", shape.rotary * (heads + kv_heads))
    if shape.sinks:
        build.parameters(f"{at}.sinks", heads)
    _attend(build, f"{at}.attention", span, (heads, kv_heads, shape.width, shape.width))
    if shape.gate:
        build.activation(f"{at}.gate", heads * shape.width, gated=True)
    out = f"{at}.{shape.names[3]}"
    build.linear(out, heads * shape.width, shape.hidden, shape.out_bias)
    build.all_reduce(f"{at}.all_reduce", shape.hidden)


def _projections(
    build: Builder, at: str, shape: Heads, span: Span, heads: int, kv_heads: int
) -> None:
    q, k, v, _ = shape.names
    queries, keys = heads * shape.width * (1 + shape.gate), kv_heads * shape.width
    cached = keys if span.causal else 0
    if not k:
        outputs = queries + 2 * keys
        linear = (f"{at}.{q}", shape.hidden, outputs, shape.bias)
        build.linear(*linear, cached=2 * cached, kept=span.kept)
        return
    build.linear(f"{at}.{q}", shape.hidden, queries, shape.bias)
    twice = 2 if shape.keys_are_values else 1
    linear = (f"{at}.{k}", shape.hidden, keys, shape.bias)
    build.linear(*linear, cached=twice * cached, kept=span.kept)
    if not shape.keys_are_values:
        build.linear(f"{at}.{v}", shape.hidden, keys, shape.bias, cached=cached, kept=span.kept)


def _attend(
    build: Builder,
    path: str,
    span: Span,
    shape: tuple[int, int, int, int],
    *,
    one_cache: bool = False,
) -> None:
    """Add attention as one op, or as scores, softmax and values.

    Keys and values have the cache's format also where nothing is kept (encoders, expanded latents).
    """
    heads, kv_heads, width, value_width = shape
    kv = build.setting.kv
    mask = (span.window, span.chunk, span.causal)
    row = width * kv.bytes_each
    pairs, keys, reads = visible(*mask), keys_read(*mask[:2]), blocked_keys(row, *mask)
    if span.fixed:
        size = float(span.fixed)
        pairs, keys, reads = size * size, size, size
    op = FlashAttention(
        path,
        build.act,
        heads,
        kv_heads,
        width,
        value_width,
        kv,
        per_sequence(pairs),
        per_sequence(keys),
        per_sequence(reads),
        amount(keys),
        build.tokens,
        one_cache,
    )
    for part in (op,) if build.setting.flash else op.unfused():
        build.add(part)


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434).

    Attributes:
        hidden: Width of the residual stream.
        heads: Heads.
        q_rank: Width of the queries' latent; None: queries are projected directly.
        kv_rank: Width of the latent that is cached.
        nope: Numbers of a head without rotation.
        rope: Rotated numbers, one key for all heads.
        value: Numbers of a value.
        indexer: Heads, width and chosen keys of DeepSeek-V3.2's sparse attention, if any.
        bias: Whether the latents' projections have a bias.
    """

    hidden: int
    heads: int
    q_rank: int | None
    kv_rank: int
    nope: int
    rope: int
    value: int
    indexer: tuple[int, int, int] | None = None
    bias: bool = False


def latent_attention(build: Builder, at: str, shape: Latent) -> None:
    """Add a module of MLA, absorbed (latents are the keys) or expanded (kv_b_proj is run)."""
    heads = build.shard(shape.heads, "heads")
    width = shape.nope + shape.rope
    if shape.q_rank:
        build.linear(f"{at}.q_a_proj", shape.hidden, shape.q_rank, shape.bias)
        build.norm(f"{at}.q_a_layernorm", shape.q_rank)
        build.linear(f"{at}.q_b_proj", shape.q_rank, heads * width)
    else:
        build.linear(f"{at}.q_proj", shape.hidden, heads * width)
    latent = shape.kv_rank + shape.rope
    path = f"{at}.kv_a_proj_with_mqa"
    build.linear(path, shape.hidden, latent, shape.bias, cached=latent, kept=FULL.kept)
    build.norm(f"{at}.kv_a_layernorm", shape.kv_rank)
    build.rotary(f"{at}.rotary", shape.rope * (heads + 1))
    span = _indexer(build, at, shape) if shape.indexer else FULL
    if build.setting.absorb:
        _absorbed(build, at, shape, heads, span)
    else:
        keys = per_sequence(LENGTH)
        outputs = heads * (shape.nope + shape.value)
        build.linear(f"{at}.kv_b_proj", shape.kv_rank, outputs, tokens=keys)
        _attend(build, f"{at}.attention", span, (heads, heads, width, shape.value))
    build.linear(f"{at}.o_proj", heads * shape.value, shape.hidden, shape.bias)
    build.all_reduce(f"{at}.all_reduce", shape.hidden)


def _absorbed(build: Builder, at: str, shape: Latent, heads: int, span: Span) -> None:
    """Queries go to the latent space by their half of kv_b_proj, outputs come back by the other.

    Each half is a small product per head.
    """
    spec, act = build.format_of(f"{at}.kv_b_proj"), build.act
    rank = shape.kv_rank

    def half(name: str, inputs: int, outputs: int, is_turned: bool) -> None:
        path, read = f"{at}.kv_b_proj.{name}", TOKENS * (heads * inputs)
        op = Half(path, act, inputs, heads * outputs, spec, groups=heads, image=read)
        build.add(replace(op, is_turned=is_turned))

    half("keys", shape.nope, rank, is_turned=True)
    _attend(build, f"{at}.attention", span, (heads, 1, rank + shape.rope, rank), one_cache=True)
    half("values", rank, shape.value, is_turned=False)


def _indexer(build: Builder, at: str, shape: Latent) -> Span:
    """Add the lightning indexer; return the span of the keys that it chooses."""
    assert shape.indexer is not None
    heads, width, chosen = shape.indexer
    path = f"{at}.indexer"
    build.linear(f"{path}.wq_b", shape.q_rank or shape.hidden, heads * width)
    build.linear(f"{path}.wk", shape.hidden, width, cached=width, kept=FULL.kept)
    build.norm(f"{path}.k_norm", width, layer=True)
    build.linear(f"{path}.weights_proj", shape.hidden, heads)
    _attend(build, f"{path}.attention", FULL, (heads, 1, width, 0), one_cache=True)
    return Span(window=chosen)
