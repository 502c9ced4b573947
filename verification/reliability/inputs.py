"""Models of a few thousand weights, as the jobs of the campaign read them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HIDDEN, CHANNELS, VOCABULARY = 32, 64, 40
Tensors = dict[str, NDArray[np.float32]]


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
    """Write a Llama of one layer as GGUF, and return the file."""
    return write_gguf(path, gguf_tensors())


def gguf_tensors() -> Tensors:
    """Return its tensors by their names in the file, ``[out, in]``; always the same values."""
    rng = np.random.default_rng(0)
    half = HIDDEN // 2
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd": (VOCABULARY, HIDDEN),
        "output": (VOCABULARY, HIDDEN),
        "output_norm": (HIDDEN,),
        "blk.0.attn_norm": (HIDDEN,),
        "blk.0.attn_q": (HIDDEN, HIDDEN),
        "blk.0.attn_k": (half, HIDDEN),
        "blk.0.attn_v": (half, HIDDEN),
        "blk.0.attn_output": (HIDDEN, HIDDEN),
        "blk.0.ffn_norm": (HIDDEN,),
        "blk.0.ffn_gate": (CHANNELS, HIDDEN),
        "blk.0.ffn_up": (CHANNELS, HIDDEN),
        "blk.0.ffn_down": (HIDDEN, CHANNELS),
    }
    return {
        f"{name}.weight": (rng.standard_normal(shape) * 0.1).astype(np.float32)
        for name, shape in shapes.items()
    }


def write_gguf(path: Path, tensors: Tensors, *, blocks: int = 1) -> Path:
    """Write tensors as GGUF, with a tokenizer of single letters, and return the file.

    Args:
        path: The file.
        tensors: By their names in the file.
        blocks: How many layers the metadata say that there are.
    """
    import gguf

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(blocks)
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
    for name, values in tensors.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
