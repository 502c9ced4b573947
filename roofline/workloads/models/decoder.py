"""Llama and its relatives: RMS norms, rotary positions, gated MLPs or mixtures of experts.

What tells the families apart is data (``TRAITS``); names and shapes are those of transformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roofline.workloads.models.attention import FULL, Heads, Span, attention
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields
from roofline.workloads.models.mlp import Mixture, Mlp, mixture, mlp
from roofline.workloads.models.recurrent import DeltaNet, delta_net

FULL_LAYER, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"
LINEAR = "linear_attention"
LAYER_TYPES = (FULL_LAYER, SLIDING, CHUNKED, LINEAR)


@dataclass(frozen=True)
class Traits:
    """What a family does that its config does not say.

    Attributes:
        bias: Whether q, k and v have biases; None: the config's ``attention_bias``.
        out_bias: Whether o has one too; None: as q, k and v.
        qk_norm: See ``Heads``.
        fused: Whether q, k, v are one matrix, and gate and up another.
        sandwich: Whether a norm also follows attention and MLP (Gemma).
        gate: Whether attention's output is gated.
        sinks: Whether heads have sinks.
        experts: Whether the MLPs are mixtures.
        expert_bias: Whether router and experts have biases.
        router: Name of the router.
        mlp: Name of the MLP module.
        tied: What ``tie_word_embeddings`` is where the config does not say.
    """

    bias: bool | None = None
    out_bias: bool | None = None
    qk_norm: Literal["", "head", "all"] = ""
    fused: bool = False
    sandwich: bool = False
    gate: bool = False
    sinks: bool = False
    experts: bool = False
    expert_bias: bool = False
    router: str = "gate"
    mlp: str = "mlp"
    tied: bool = False


TRAITS = {
    "llama": Traits(),
    "mistral": Traits(bias=False),
    "mixtral": Traits(bias=False, experts=True),
    "qwen2": Traits(bias=True, out_bias=False),
    "qwen3": Traits(qk_norm="head"),
    "qwen3_vl": Traits(qk_norm="head"),
    "qwen3_moe": Traits(qk_norm="head", experts=True),
    "qwen3_5_moe": Traits(qk_norm="head", gate=True, experts=True),
    "qwen3_5": Traits(qk_norm="head", gate=True),
    "gemma2": Traits(sandwich=True, tied=True),
    "gemma3": Traits(qk_norm="head", sandwich=True, tied=True),
    "gemma4": Traits(qk_norm="head", sandwich=True, tied=True),
    "phi3": Traits(bias=False, fused=True),
    "gpt_oss": Traits(sinks=True, experts=True, expert_bias=True, router="router"),
    "minimax_m2": Traits(bias=False, qk_norm="all", experts=True),
    "llama4": Traits(experts=True, router="router", mlp="feed_forward"),
}
"""``model_type`` (without ``_text``) to what the family does."""


def build_decoder(fields: Fields, build: Builder) -> None:
    """Add the ops of a decoder of this family."""
    kind = str(fields.data.get("model_type", "llama")).removesuffix("_text")
    traits = TRAITS[kind]
    hidden, vocabulary = fields.size("hidden_size"), fields.size("vocab_size")
    layers = fields.size("num_hidden_layers", most=10_000)
    blocks = _layer_types(fields, layers)
    heads = [_heads(fields, traits, hidden, block) for block in blocks]
    spans = [_span(fields, block) for block in blocks]
    sparse = [traits.experts and _is_sparse(fields, i) for i in range(layers)]
    mixed = _mixture(fields, traits, hidden) if any(sparse) else None
    dense = _dense(fields, traits, hidden) if not all(sparse) else None
    also = _mixture(fields, traits, hidden) if kind == "gemma4" and _has_moe(fields) else None
    delta = _delta(fields, hidden) if LINEAR in blocks else None
    tied = fields.flag("tie_word_embeddings", traits.tied)
    fields.check()
    build.embedding("model.embed_tokens", vocabulary, hidden)
    for i in range(layers):
        at = f"model.layers.{i}"
        build.norm(f"{at}.input_layernorm", hidden)
        if blocks[i] == LINEAR and delta:
            delta_net(build, f"{at}.linear_attn", delta)
        else:
            attention(build, f"{at}.self_attn", heads[i], spans[i])
        _join(build, at, "post_attention_layernorm", hidden, traits.sandwich)
        build.norm(
            f"{at}.{'pre_feedforward' if traits.sandwich else 'post_attention'}_layernorm", hidden
        )
        if sparse[i] and mixed:
            mixture(build, f"{at}.{traits.mlp}", mixed)
        elif dense:
            mlp(build, f"{at}.{traits.mlp}", dense, reduce=also is None)
        if also:
            _beside(build, at, hidden, also)
        _join(build, at, "post_feedforward_layernorm", hidden, traits.sandwich, "mlp_residual")
        build.end_layer(at, i, layers, hidden)
    build.norm("model.norm", hidden, tokens=build.head_tokens)
    build.head("lm_head", hidden, vocabulary, tied=tied)


def _join(
    build: Builder, at: str, norm: str, hidden: int, sandwich: bool, name: str = "residual"
) -> None:
    """Norm what the block made (Gemma), then add what it was given."""
    if sandwich:
        build.norm(f"{at}.{norm}", hidden)
    build.residual(f"{at}.{name}", hidden)


def _beside(build: Builder, at: str, hidden: int, shape: Mixture) -> None:
    """Gemma 4: routed experts run beside the dense MLP, with norms and scales of their own."""
    for name in ("post_feedforward_layernorm_1", "pre_feedforward_layernorm_2"):
        build.norm(f"{at}.{name}", hidden)
    build.parameters(f"{at}.router.scale", hidden)
    build.parameters(f"{at}.router.per_expert_scale", shape.experts)
    mixture(build, at, shape)
    build.norm(f"{at}.post_feedforward_layernorm_2", hidden)


def _layer_types(fields: Fields, layers: int) -> list[str]:
    """Which attention each layer has."""
    named = fields.names("layer_types", layers, LAYER_TYPES)
    if named:
        return named
    data, kind = fields.data, str(fields.data.get("model_type", ""))
    if kind.startswith("llama4"):
        return [FULL_LAYER if (i + 1) % 4 == 0 else CHUNKED for i in range(layers)]
    if data.get("full_attention_interval"):
        every = fields.size("full_attention_interval")
        return [FULL_LAYER if (i + 1) % every == 0 else LINEAR for i in range(layers)]
    if not data.get("sliding_window") or data.get("use_sliding_window") is False:
        return [FULL_LAYER] * layers
    if data.get("use_sliding_window"):
        first = fields.size("max_window_layers", default=0, least=0)
        return [SLIDING if i >= first else FULL_LAYER for i in range(layers)]
    usual = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6}.get(kind, 0)
    every = fields.size("sliding_window_pattern", default=usual, least=0)
    return [FULL_LAYER if every and (i + 1) % every == 0 else SLIDING for i in range(layers)]


def _span(fields: Fields, block: str) -> Span:
    if block == SLIDING:
        return Span(window=fields.size("sliding_window"))
    if block == CHUNKED:
        return Span(chunk=fields.size("attention_chunk_size"))
    return FULL


def _heads(fields: Fields, traits: Traits, hidden: int, block: str) -> Heads:
    heads = fields.size("num_attention_heads")
    kv_heads = fields.size("num_key_value_heads", default=heads)
    explicit = fields.data.get("head_dim")
    width = fields.size("head_dim", default=max(1, hidden // heads))
    if explicit is None:
        fields.divides(hidden, heads, "num_attention_heads")
    wide = block == FULL_LAYER and fields.data.get("global_head_dim") is not None
    if wide:
        width = fields.size("global_head_dim")
        kv_heads = fields.size("num_global_key_value_heads", default=kv_heads)
    if heads % kv_heads:
        fields.faults.append(f"{heads} heads cannot share {kv_heads} KV heads")
    bias = fields.flag("attention_bias") if traits.bias is None else traits.bias
    rotary = int(width * fields.fraction("partial_rotary_factor", 1.0))
    names = ("qkv_proj", "", "", "o_proj") if traits.fused else Heads.names
    return Heads(
        hidden,
        heads,
        kv_heads,
        width,
        rotary,
        names,
        bias,
        bias if traits.out_bias is None else traits.out_bias,
        traits.qk_norm,
        traits.gate and fields.flag("attn_output_gate", default=True),
        traits.sinks,
        wide and fields.flag("attention_k_eq_v"),
    )


def _dense(fields: Fields, traits: Traits, hidden: int) -> Mlp:
    inner = fields.size("intermediate_size_mlp", "intermediate_size")
    names = ("gate_up_proj", "", "down_proj") if traits.fused else Mlp.names
    return Mlp(hidden, inner, names, fields.flag("mlp_bias"))


def _has_moe(fields: Fields) -> bool:
    return fields.flag("enable_moe_block")


def _is_sparse(fields: Fields, layer: int) -> bool:
    """Whether a layer's MLP is a mixture."""
    if layer in fields.layers("mlp_only_layers"):
        return False
    step = fields.size("interleave_moe_layer_step", "decoder_sparse_step", default=1)
    return (layer + 1) % step == 0


def _mixture(fields: Fields, traits: Traits, hidden: int) -> Mixture:
    experts = fields.size("num_local_experts", "num_experts")
    chosen = fields.size("num_experts_per_tok", "top_k_experts", most=experts)
    inner = fields.size("moe_intermediate_size", "intermediate_size")
    llama4, gemma4 = traits.mlp == "feed_forward", "top_k_experts" in fields.data
    own = fields.size("shared_expert_intermediate_size", default=0, least=0)
    return Mixture(
        hidden,
        inner,
        experts,
        chosen,
        fields.size("intermediate_size") if llama4 else own,
        "shared_expert",
        bool(own),
        "router.proj" if gemma4 else traits.router,
        traits.expert_bias,
        traits.expert_bias,
        router_is_layer=llama4 or gemma4,
    )


def _delta(fields: Fields, hidden: int) -> DeltaNet:
    return DeltaNet(
        hidden,
        fields.size("linear_num_key_heads"),
        fields.size("linear_num_value_heads"),
        fields.size("linear_key_head_dim"),
        fields.size("linear_value_head_dim"),
        fields.size("linear_conv_kernel_dim"),
    )
