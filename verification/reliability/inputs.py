"""Models of a few thousand weights, as the jobs of the campaign read them."""

from __future__ import annotations

from pathlib import Path

HIDDEN, CHANNELS, VOCABULARY = 32, 64, 40


def tiny_folder(folder: Path) -> Path:
    """Write a Llama of one layer, in two shards and without a tokenizer, and return its folder."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=CHANNELS,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=False,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder, max_shard_size="20KB")
    return folder


def tiny_gguf(path: Path) -> Path:
    """Write a Llama of one layer and its tokenizer of letters as GGUF, and return the file."""
    import gguf
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(CHANNELS)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(HIDDEN // 2)
    writer.add_vocab_size(VOCABULARY)
    letters = [chr(ord("!") + i) for i in range(VOCABULARY - 3)]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(["<s>", "</s>", *letters, "#$"])
    writer.add_token_types([3, 3, *[1] * (VOCABULARY - 2)])
    writer.add_token_merges(["# $"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    rng = np.random.default_rng(0)
    for name, shape in _shapes().items():
        values = (rng.standard_normal(shape) * 0.1).astype(np.float32)
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _shapes() -> dict[str, tuple[int, ...]]:
    half = HIDDEN // 2
    block: dict[str, tuple[int, ...]] = {
        "attn_norm": (HIDDEN,),
        "attn_q": (HIDDEN, HIDDEN),
        "attn_k": (half, HIDDEN),
        "attn_v": (half, HIDDEN),
        "attn_output": (HIDDEN, HIDDEN),
        "ffn_norm": (HIDDEN,),
        "ffn_gate": (CHANNELS, HIDDEN),
        "ffn_up": (CHANNELS, HIDDEN),
        "ffn_down": (HIDDEN, CHANNELS),
    }
    around = {"token_embd": (VOCABULARY, HIDDEN), "output": (VOCABULARY, HIDDEN)}
    shapes = {f"blk.0.{name}.weight": shape for name, shape in block.items()}
    return {f"{name}.weight": shape for name, shape in around.items()} | {
        "output_norm.weight": (HIDDEN,),
        **shapes,
    }
