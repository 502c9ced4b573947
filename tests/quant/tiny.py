"""Tiny models of transformers with random weights, large enough for attention to matter."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

HEADS, WIDTH = 4, 8
"""Attention heads and their channels."""
SIZE = HEADS * WIDTH
USUAL = {
    "vocab_size": 64, "hidden_size": SIZE, "intermediate_size": 48, "num_hidden_layers": 2,
    "num_attention_heads": HEADS, "num_key_value_heads": 2, "max_position_embeddings": 64,
    "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "initializer_range": 0.2,
}  # fmt: skip
FEWER = ("intermediate_size", "num_key_value_heads")
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8,
    "v_head_dim": 8, "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16,
    "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1, "num_key_value_heads": HEADS,
}  # fmt: skip
CONFIGS: dict[str, dict[str, Any]] = {
    "falcon": {"multi_query": True, "new_decoder_architecture": False, "bias": True},
    "falcon new": {"new_decoder_architecture": True, "num_kv_heads": 2, "bias": True},
    "mpt": {"d_model": SIZE, "n_heads": HEADS, "n_layers": 2, "max_seq_len": 64},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": SIZE},
    "qwen2_moe": {**EXPERTS, "shared_expert_intermediate_size": 16},
    "deepseek_v2": {**LATENT, "q_lora_rank": None, "topk_method": "greedy"},
    "deepseek_v3": LATENT,
    "gemma2": {"head_dim": WIDTH, "attn_logit_softcapping": 5.0, "sliding_window": 8},
    "deepseek_v32": {**LATENT, "index_n_heads": 2, "index_head_dim": 16, "index_topk": 4},
    "t5": {
        "d_model": SIZE,
        "d_kv": WIDTH,
        "d_ff": 48,
        "num_layers": 1,
        "num_heads": HEADS,
        "decoder_start_token_id": 0,
    },
}


def tiny(name: str, **changes: object) -> Any:  # noqa: ANN401  transformers has no types
    """Return a model of a family, such as ``"llama"``, for evaluation."""
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    family = name.split(maxsplit=1)[0]
    usual = {"vocab_size": 64, "initializer_range": 0.2} if family == "mpt" else dict(USUAL)
    if family in ("falcon", "gpt_neox", "bloom"):
        usual = {key: value for key, value in usual.items() if key not in FEWER}
    config = CONFIG_MAPPING[family](**{**usual, **CONFIGS.get(name, {}), **changes})
    torch.manual_seed(0)
    kind = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    model: nn.Module = kind.from_config(config)
    with torch.no_grad():  # biases and gains are not all alike
        for vector in (own for own in model.parameters() if own.dim() == 1):
            vector.add_(0.2 * torch.randn(vector.shape))
    return model.eval()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute on one thread for the length of a block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tokens(count: int = 24, seed: int = 1) -> torch.Tensor:
    """Return token ids ``[1, count]``."""
    return torch.randint(3, 60, (1, count), generator=torch.Generator().manual_seed(seed))
