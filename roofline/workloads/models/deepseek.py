"""DeepSeek V2, V3, V3.2 and Kimi K2: latent attention, shared and routed experts."""

from __future__ import annotations

from roofline.workloads.models.attention import Latent, latent_attention
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields
from roofline.workloads.models.mlp import Mixture, Mlp, mixture, mlp

MODEL_TYPES = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "kimi_k2")


def build_deepseek(fields: Fields, build: Builder) -> None:
    """Add the ops of a decoder of this family."""
    hidden, vocabulary = fields.size("hidden_size"), fields.size("vocab_size")
    layers = fields.size("num_hidden_layers", most=10_000)
    first = fields.size("first_k_dense_replace", default=0, least=0)
    every = fields.size("moe_layer_freq", default=1)
    latent, experts = _latent(fields, hidden), _mixture(fields, hidden)
    dense = Mlp(hidden, fields.size("intermediate_size"))
    tied = fields.flag("tie_word_embeddings")
    fields.check()
    build.embedding("model.embed_tokens", vocabulary, hidden)
    for i in range(layers):
        at = f"model.layers.{i}"
        build.norm(f"{at}.input_layernorm", hidden)
        latent_attention(build, f"{at}.self_attn", latent)
        build.residual(f"{at}.residual", hidden)
        build.norm(f"{at}.post_attention_layernorm", hidden)
        if i >= first and i % every == 0:
            mixture(build, f"{at}.mlp", experts)
        else:
            mlp(build, f"{at}.mlp", dense)
        build.residual(f"{at}.mlp_residual", hidden)
        build.end_layer(at, i, layers, hidden)
    build.norm("model.norm", hidden, tokens=build.head_tokens)
    build.head("lm_head", hidden, vocabulary, tied=tied)


def _latent(fields: Fields, hidden: int) -> Latent:
    rank = fields.data.get("q_lora_rank")
    indexer = None
    if fields.data.get("index_topk") is not None:
        sizes = ("index_n_heads", "index_head_dim", "index_topk")
        indexer = (fields.size(sizes[0]), fields.size(sizes[1]), fields.size(sizes[2]))
    return Latent(
        hidden,
        fields.size("num_attention_heads"),
        None if rank is None else fields.size("q_lora_rank"),
        fields.size("kv_lora_rank"),
        fields.size("qk_nope_head_dim"),
        fields.size("qk_rope_head_dim"),
        fields.size("v_head_dim"),
        indexer,
        fields.flag("attention_bias"),
    )


def _mixture(fields: Fields, hidden: int) -> Mixture:
    """The routed experts; V3's router has a learned correction of the scores."""
    experts = fields.size("n_routed_experts")
    inner = fields.size("moe_intermediate_size")
    shared = fields.size("n_shared_experts", default=0, least=0) * inner
    chosen = fields.size("num_experts_per_tok", most=experts)
    corrected = str(fields.data.get("model_type")) != "deepseek_v2"
    return Mixture(hidden, inner, experts, chosen, shared, router_bias=corrected)
