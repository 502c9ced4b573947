"""The families: one tiny model of each kind that transformers has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from verification.models.families import VOCABULARY, Family, pairs, pixels, sound, text

WIDTH, INNER, LAYERS, HEADS = 32, 48, 2, 4
IDS = {"vocab_size": VOCABULARY, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DENSE = {
    **IDS, "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "num_key_value_heads": 2,
}  # fmt: skip
ROUTED = {**DENSE, "num_experts_per_tok": 2}
IMAGE = {
    "hidden_size": WIDTH, "intermediate_size": INNER, "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS, "image_size": 16, "patch_size": 8,
}  # fmt: skip
LATENT = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "num_key_value_heads": HEADS,
}  # fmt: skip


def _causal(name: str, kind: str, stem: str, settings: Mapping[str, Any]) -> Family:
    return Family(name, kind, f"{stem}ForCausalLM", f"{stem}Config", settings)


_GPT = {**IDS, "n_embd": WIDTH, "n_layer": LAYERS, "n_head": HEADS}
FAMILIES = (
    _causal("llama", "dense", "Llama", DENSE),
    _causal("llama-tied", "dense, tied head", "Llama", {**DENSE, "tie_word_embeddings": True}),
    _causal("mistral", "dense, sliding window", "Mistral", {**DENSE, "sliding_window": 8}),
    _causal("qwen2", "dense, biases", "Qwen2", DENSE),
    _causal("qwen3", "dense, norms of heads", "Qwen3", {**DENSE, "head_dim": 8}),
    _causal("gemma2", "dense, soft-caps", "Gemma2", {**DENSE, "head_dim": 8}),
    Family(
        "gemma3",
        "dense, local and global",
        "Gemma3ForCausalLM",
        "Gemma3TextConfig",
        {**DENSE, "head_dim": 8},
    ),
    _causal("phi", "dense, parallel", "Phi", DENSE),
    _causal("phi3", "dense, fused q, k, v", "Phi3", DENSE),
    _causal("stablelm", "dense", "StableLm", DENSE),
    _causal("olmo2", "dense, norms after", "Olmo2", DENSE),
    _causal("cohere", "dense, scaled logits", "Cohere", {**DENSE, "logit_scale": 0.25}),
    _causal("granite", "dense, scaled logits", "Granite", {**DENSE, "logits_scaling": 4.0}),
    Family("gpt2", "dense, Conv1D", "GPT2LMHeadModel", "GPT2Config", {**_GPT, "n_positions": 64}),
    _causal("gpt-j", "dense, parallel", "GPTJ", {**_GPT, "rotary_dim": 4, "n_positions": 64}),
    _causal("gpt-neox", "dense, fused q, k, v", "GPTNeoX", DENSE),
    _causal("falcon", "dense, own linear class", "Falcon", {**DENSE, "alibi": False}),
    _causal(
        "bloom",
        "dense, alibi",
        "Bloom",
        {**IDS, "hidden_size": WIDTH, "n_layer": LAYERS, "n_head": HEADS},
    ),
    _causal(
        "opt",
        "dense, learned positions",
        "OPT",
        {**DENSE, "ffn_dim": INNER, "word_embed_proj_dim": WIDTH},
    ),
    _causal("mixtral", "experts, fused", "Mixtral", {**ROUTED, "num_local_experts": 4}),
    _causal(
        "qwen3-moe",
        "experts, fused",
        "Qwen3Moe",
        {**ROUTED, "num_experts": 4, "moe_intermediate_size": 24, "head_dim": 8},
    ),
    _causal("olmoe", "experts, fused", "Olmoe", {**ROUTED, "num_experts": 4}),
    _causal(
        "gpt-oss",
        "experts, transposed",
        "GptOss",
        {**ROUTED, "num_local_experts": 4, "head_dim": 8},
    ),
    Family(
        "llama4",
        "experts, transposed, own router",
        "Llama4ForCausalLM",
        "Llama4TextConfig",
        {**ROUTED, "num_local_experts": 4, "intermediate_size_mlp": INNER, "head_dim": 8},
    ),
    _causal(
        "jetmoe",
        "experts, no class of transformers'",
        "JetMoe",
        {
            **DENSE,
            "num_local_experts": 4,
            "num_experts_per_tok": 2,
            "kv_channels": 8,
            "num_key_value_heads": 2,
        },
    ),
    _causal(
        "deepseek-v3",
        "latent attention, experts",
        "DeepseekV3",
        {
            **ROUTED,
            **LATENT,
            "moe_intermediate_size": 24,
            "n_routed_experts": 4,
            "n_group": 1,
            "topk_group": 1,
            "first_k_dense_replace": 1,
        },
    ),
    _causal(
        "mamba",
        "state space",
        "Mamba",
        {**IDS, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "state_size": 8},
    ),
    _causal(
        "mamba2",
        "state space",
        "Mamba2",
        {
            **IDS,
            "hidden_size": WIDTH,
            "num_hidden_layers": LAYERS,
            "state_size": 8,
            "num_heads": 8,
            "head_dim": 8,
            "n_groups": 1,
            "chunk_size": 8,
        },
    ),
    _causal(
        "jamba",
        "hybrid, experts",
        "Jamba",
        {
            **ROUTED,
            "num_experts": 4,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "use_mamba_kernels": False,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
        },
    ),
    Family(
        "bert",
        "encoder",
        "BertForMaskedLM",
        "BertConfig",
        {**DENSE, "max_position_embeddings": 64},
        text,
    ),
    Family(
        "albert",
        "encoder, one layer many times",
        "AlbertForMaskedLM",
        "AlbertConfig",
        {**DENSE, "embedding_size": 16, "max_position_embeddings": 64},
        text,
    ),
    Family(
        "t5",
        "encoder and decoder, tied",
        "T5ForConditionalGeneration",
        "T5Config",
        {
            **IDS,
            "d_model": WIDTH,
            "d_ff": INNER,
            "d_kv": 8,
            "num_layers": LAYERS,
            "num_heads": HEADS,
            "decoder_start_token_id": 0,
        },
        pairs,
    ),
    Family(
        "bart",
        "encoder and decoder",
        "BartForConditionalGeneration",
        "BartConfig",
        {
            **IDS,
            "d_model": WIDTH,
            "encoder_ffn_dim": INNER,
            "decoder_ffn_dim": INNER,
            "encoder_layers": LAYERS,
            "decoder_layers": LAYERS,
            "encoder_attention_heads": HEADS,
            "decoder_attention_heads": HEADS,
            "max_position_embeddings": 64,
            "decoder_start_token_id": 2,
            "forced_eos_token_id": 2,
        },
        pairs,
    ),
    Family(
        "whisper",
        "speech",
        "WhisperForConditionalGeneration",
        "WhisperConfig",
        {
            **IDS,
            "d_model": WIDTH,
            "encoder_ffn_dim": INNER,
            "decoder_ffn_dim": INNER,
            "encoder_layers": LAYERS,
            "decoder_layers": LAYERS,
            "encoder_attention_heads": HEADS,
            "decoder_attention_heads": HEADS,
            "num_mel_bins": 8,
            "max_source_positions": 16,
            "max_target_positions": 16,
            "decoder_start_token_id": 1,
        },
        sound,
    ),
    Family("vit", "image", "ViTForImageClassification", "ViTConfig", IMAGE, pixels),
    Family(
        "llava",
        "image and text",
        "LlavaForConditionalGeneration",
        "LlavaConfig",
        {
            "text_config": {**DENSE, "model_type": "llama"},
            "vision_config": {**IMAGE, "model_type": "clip_vision_model", "projection_dim": WIDTH},
            "image_token_index": 3,
        },
        text,
    ),
)
"""One of each; at least 25."""


def family(name: str) -> Family:
    """Return the family of a name."""
    return next(entry for entry in FAMILIES if entry.name == name)
