"""A Llama of one layer as GGUF, whose tensors and settings a test may change."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]
HIDDEN, CHANNELS, VOCABULARY = 32, 64, 40


def tensors() -> Tensors:
    """Return its tensors by their names in the file, ``[out, in]``; always the same values."""
    rng = np.random.default_rng(0)
    half = HIDDEN // 2
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (VOCABULARY, HIDDEN),
        "output.weight": (VOCABULARY, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "blk.0.attn_norm.weight": (HIDDEN,),
        "blk.0.attn_q.weight": (HIDDEN, HIDDEN),
        "blk.0.attn_k.weight": (half, HIDDEN),
        "blk.0.attn_v.weight": (half, HIDDEN),
        "blk.0.attn_output.weight": (HIDDEN, HIDDEN),
        "blk.0.ffn_norm.weight": (HIDDEN,),
        "blk.0.ffn_gate.weight": (CHANNELS, HIDDEN),
        "blk.0.ffn_up.weight": (CHANNELS, HIDDEN),
        "blk.0.ffn_down.weight": (HIDDEN, CHANNELS),
    }
    return {k: (rng.standard_normal(s) * 0.1).astype(np.float32) for k, s in shapes.items()}


def write(path: Path, found: Tensors, *, blocks: int = 1) -> Path:
    """Write a file with a tokenizer of single letters and return it.

    Args:
        path: The file.
        found: Its tensors.
        blocks: How many layers its metadata say that it has.
    """
    writer = gguf.GGUFWriter(path, "llama")
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
    writer.add_token_list(["<s>", "</s>", *letters, '!"'])
    writer.add_token_types([3, 3, *[1] * (VOCABULARY - 2)])
    writer.add_token_merges(['! "'])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    for name, values in found.items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
