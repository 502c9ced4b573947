"""GPT-2, GPT-J, OPT, Phi, Falcon and ChatGLM: layer norms or plain MLPs, biases, odd names."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.workloads.models.attention import Heads, attention
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields
from roofline.workloads.models.mlp import Mlp, mlp


@dataclass(frozen=True)
class Names:
    """Module paths of a family; ``layer`` ends before the index.

    ``second`` is empty where attention and MLP share one norm and run side by side.
    """

    embedding: str
    positions: str
    layer: str
    first: str
    attention: str
    projections: tuple[str, str, str, str]
    second: str
    mlp: str
    matrices: tuple[str, str, str]
    norm: str
    head: str = "lm_head"


NAMES = {
    "gpt2": Names(
        "transformer.wte",
        "transformer.wpe",
        "transformer.h",
        "ln_1",
        "attn",
        ("c_attn", "", "", "c_proj"),
        "ln_2",
        "mlp.",
        ("", "c_fc", "c_proj"),
        "transformer.ln_f",
    ),
    "gptj": Names(
        "transformer.wte",
        "",
        "transformer.h",
        "ln_1",
        "attn",
        ("q_proj", "k_proj", "v_proj", "out_proj"),
        "",
        "mlp.",
        ("", "fc_in", "fc_out"),
        "transformer.ln_f",
    ),
    "opt": Names(
        "model.decoder.embed_tokens",
        "model.decoder.embed_positions",
        "model.decoder.layers",
        "self_attn_layer_norm",
        "self_attn",
        ("q_proj", "k_proj", "v_proj", "out_proj"),
        "final_layer_norm",
        "",
        ("", "fc1", "fc2"),
        "model.decoder.final_layer_norm",
    ),
    "phi": Names(
        "model.embed_tokens",
        "",
        "model.layers",
        "input_layernorm",
        "self_attn",
        ("q_proj", "k_proj", "v_proj", "dense"),
        "",
        "mlp.",
        ("", "fc1", "fc2"),
        "model.final_layernorm",
    ),
    "falcon": Names(
        "transformer.word_embeddings",
        "",
        "transformer.h",
        "input_layernorm",
        "self_attention",
        ("query_key_value", "", "", "dense"),
        "",
        "mlp.",
        ("", "dense_h_to_4h", "dense_4h_to_h"),
        "transformer.ln_f",
    ),
    "chatglm": Names(
        "transformer.embedding.word_embeddings",
        "",
        "transformer.encoder.layers",
        "input_layernorm",
        "self_attention",
        ("query_key_value", "", "", "dense"),
        "post_attention_layernorm",
        "mlp.",
        ("dense_h_to_4h", "", "dense_4h_to_h"),
        "transformer.encoder.final_layernorm",
        "transformer.output_layer",
    ),
}


def build_gpt(fields: Fields, build: Builder) -> None:
    """Add the ops of a decoder of one of these families."""
    kind = str(fields.data.get("model_type"))
    names, rms = NAMES[kind], kind == "chatglm"
    hidden = fields.size("hidden_size", "n_embd")
    vocabulary = fields.size("vocab_size", "padded_vocab_size")
    layers = fields.size("num_hidden_layers", "n_layer", "num_layers", most=10_000)
    shape, matrices = _heads(fields, kind, hidden), _mlp(fields, kind, hidden)
    extra = 2 if kind == "opt" else 0  # OPT's position table starts at offset 2
    length = fields.size("max_position_embeddings", "n_positions", default=1) + extra
    tied = fields.flag("tie_word_embeddings", kind in {"gpt2", "opt", "falcon"})
    fields.check()
    build.embedding(names.embedding, vocabulary, hidden)
    if names.positions:
        build.embedding(names.positions, length, hidden)
    for i in range(layers):
        at = f"{names.layer}.{i}"
        build.norm(f"{at}.{names.first}", hidden, layer=not rms)
        attention(build, f"{at}.{names.attention}", shape)
        if names.second:
            build.residual(f"{at}.residual", hidden)
            build.norm(f"{at}.{names.second}", hidden, layer=not rms)
        mlp(build, f"{at}.{names.mlp}".rstrip("."), matrices)
        build.residual(f"{at}.mlp_residual", hidden)
        build.end_layer(at, i, layers, hidden)
    build.norm(names.norm, hidden, layer=not rms, tokens=build.head_tokens)
    build.head(names.head, hidden, vocabulary, tied=tied, bias=kind in {"phi", "gptj"})


def _heads(fields: Fields, kind: str, hidden: int) -> Heads:
    heads = fields.size("num_attention_heads", "n_head")
    shared = fields.flag("multi_query") or fields.flag("multi_query_attention")
    kv_heads = fields.size("multi_query_group_num", default=1) if shared else heads
    if fields.flag("new_decoder_architecture"):  # Falcon-40B: groups of heads
        kv_heads = fields.size("num_kv_heads", default=heads)
    kv_heads = fields.size("num_key_value_heads", default=kv_heads)
    width = fields.size("kv_channels", "head_dim", default=max(1, hidden // heads))
    if width * heads != hidden and "kv_channels" not in fields.data:
        fields.divides(hidden, heads, "num_attention_heads")
    if heads % kv_heads:
        fields.faults.append(f"{heads} heads cannot share {kv_heads} KV heads")
    if kind == "phi":
        rotary = int(width * fields.fraction("partial_rotary_factor", 0.5))
    else:
        default = {"falcon": width, "chatglm": width // 2, "gptj": width}.get(kind, 0)
        rotary = fields.size("rotary_dim", default=default, least=0, most=width)
    bias = kind in {"gpt2", "opt", "phi"} or (kind == "falcon" and fields.flag("bias"))
    qkv_bias = bias or fields.flag("add_qkv_bias")
    names = NAMES[kind].projections
    return Heads(hidden, heads, kv_heads, width, rotary, names, qkv_bias, bias)


def _mlp(fields: Fields, kind: str, hidden: int) -> Mlp:
    keys = ("ffn_dim", "intermediate_size", "n_inner", "ffn_hidden_size")
    inner = fields.size(*keys, default=4 * hidden)
    bias = kind in {"gpt2", "opt", "phi", "gptj"} or (kind == "falcon" and fields.flag("bias"))
    return Mlp(hidden, inner, NAMES[kind].matrices, bias)
