"""Mamba, and Nemotron-H: state-space mixers, attention and MLPs as a pattern of layers."""

from __future__ import annotations

from roofline.workloads.models.attention import Heads, attention
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields
from roofline.workloads.models.mlp import Mlp, mlp
from roofline.workloads.models.recurrent import Mamba, Mamba2, mamba, mamba2


def build_mamba(fields: Fields, build: Builder) -> None:
    """Add the ops of a Mamba model."""
    hidden, vocabulary = fields.size("hidden_size"), fields.size("vocab_size")
    layers = fields.size("num_hidden_layers", "n_layer", most=10_000)
    inner = fields.size("intermediate_size", default=hidden * fields.size("expand", default=2))
    rank = fields.data.get("time_step_rank")
    small = -(-hidden // 16) if rank in (None, "auto") else fields.size("time_step_rank")
    state, kernel = fields.size("state_size", default=16), fields.size("conv_kernel", default=4)
    shape = Mamba(hidden, inner, state, kernel, small, fields.flag("use_conv_bias", default=True))
    tied = fields.flag("tie_word_embeddings", default=True)
    fields.check()
    build.embedding("backbone.embeddings", vocabulary, hidden)
    for i in range(layers):
        at = f"backbone.layers.{i}"
        build.norm(f"{at}.norm", hidden)
        mamba(build, f"{at}.mixer", shape)
        build.residual(f"{at}.residual", hidden)
        build.end_layer(at, i, layers, hidden)
    build.norm("backbone.norm_f", hidden, tokens=build.head_tokens)
    build.head("lm_head", hidden, vocabulary, tied=tied)


def build_nemotron(fields: Fields, build: Builder) -> None:
    """Add the ops of Nemotron-H: ``M`` Mamba-2, ``*`` attention, ``-`` MLP."""
    hidden, vocabulary = fields.size("hidden_size"), fields.size("vocab_size")
    layers = fields.size("num_hidden_layers", most=10_000)
    pattern = str(fields.data.get("hybrid_override_pattern", ""))
    if len(pattern) != layers or set(pattern) - set("M*-"):
        fields.faults.append(f"hybrid_override_pattern: {layers} of M, * and - are needed")
    heads = fields.size("num_attention_heads")
    mixer = Mamba2(
        hidden,
        fields.size("mamba_num_heads"),
        fields.size("mamba_head_dim"),
        fields.size("ssm_state_size"),
        fields.size("n_groups"),
        fields.size("conv_kernel"),
    )
    width = fields.size("attention_head_dim", "head_dim", default=max(1, hidden // heads))
    kv_heads = fields.size("num_key_value_heads", default=heads)
    shape = Heads(hidden, heads, kv_heads, width, bias=fields.flag("attention_bias"))
    names = ("", "up_proj", "down_proj")
    dense = Mlp(hidden, fields.size("intermediate_size"), names, fields.flag("mlp_bias"))
    tied = fields.flag("tie_word_embeddings")
    fields.check()
    build.embedding("model.embeddings", vocabulary, hidden)
    for i, kind in enumerate(pattern):
        at = f"model.layers.{i}"
        build.norm(f"{at}.norm", hidden)
        if kind == "M":
            mamba2(build, f"{at}.mixer", mixer)
        elif kind == "*":
            attention(build, f"{at}.mixer", shape)
        else:
            mlp(build, f"{at}.mixer", dense)
        build.residual(f"{at}.residual", hidden)
        build.end_layer(at, i, layers, hidden)
    build.norm("model.norm_f", hidden, tokens=build.head_tokens)
    build.head("lm_head", hidden, vocabulary, tied=tied)
