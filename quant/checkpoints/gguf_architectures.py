"""The architectures of GGUF that are written: their metadata, and how llama.cpp orders weights.

Each is one that transformers' own loading of GGUF reads back; others are refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Architecture:
    """An architecture.

    Attributes:
        name: llama.cpp's.
        permutes: Whether rows of queries and keys are in the order of the original Llama code,
            pairs of a rotation side by side.
        added: What is added to the gains of norms, whose zero means one in the model's own files.
        windows: How many layers go from one with full attention to the next; 0: all have it.
        local_base: Base of the rotations in layers with a window, where llama.cpp fixes one.
    """

    name: str
    permutes: bool = False
    added: float = 0.0
    windows: int = 0
    local_base: float | None = None

    def rows(self, name: str, config: Mapping[str, Any], count: int) -> Rows | None:
        """Return the order of the rows of a tensor; None: as they are.

        Args:
            name: llama.cpp's name of the tensor.
            config: The model's.
            count: Its rows.
        """
        kind = name.split(".")[-2]
        if not self.permutes or kind not in ("attn_q", "attn_k"):
            return None
        heads = config["num_attention_heads"]
        if kind == "attn_k":
            heads = config.get("num_key_value_heads") or heads
        own = np.arange(count).reshape(heads, 2, count // heads // 2)
        return own.swapaxes(1, 2).reshape(-1)

    def check(self, config: Mapping[str, Any]) -> None:
        """Raise a RequestError for what its metadata cannot say."""
        rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
        kinds = [own for own in rope.values() if isinstance(own, dict)] or [rope]
        for own in kinds:
            kind = own.get("rope_type", own.get("type", "default"))
            if kind not in ("default", None):
                raise RequestError(f"rotary embedding {kind!r} is not written to GGUF: default is")
        if config.get("use_sliding_window"):
            raise RequestError("use_sliding_window is not written to GGUF")
        layers, windows = config.get("layer_types"), self.windows
        wanted = [
            "full_attention" if not windows or (i + 1) % windows == 0 else "sliding_attention"
            for i in range(config["num_hidden_layers"])
        ]
        if layers is not None and list(layers) != wanted:
            raise RequestError(f"layer_types {layers}: {self.name} of GGUF has {wanted}")
        scalar = config.get("query_pre_attn_scalar")
        if scalar is not None and scalar != head_size(config):
            raise RequestError(
                f"query_pre_attn_scalar {scalar}: {self.name} of GGUF has the width of a head, "
                f"{head_size(config)}"
            )
        if self.local_base is not None and _bases(config)[1] not in (None, self.local_base):
            raise RequestError(
                f"rope_theta {_bases(config)[1]} of windows: {self.name} of GGUF has "
                f"{self.local_base}"
            )

    def describe(self, writer: Any, config: Mapping[str, Any]) -> None:  # noqa: ANN401  gguf's has no types
        """Write the metadata of a model."""
        heads, size = config["num_attention_heads"], head_size(config)
        writer.add_context_length(config["max_position_embeddings"])
        writer.add_embedding_length(config["hidden_size"])
        writer.add_block_count(config["num_hidden_layers"])
        writer.add_feed_forward_length(config["intermediate_size"])
        writer.add_head_count(heads)
        writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
        writer.add_rope_freq_base(_bases(config)[0])
        writer.add_rope_dimension_count(size)
        writer.add_key_length(size)
        writer.add_value_length(size)
        writer.add_vocab_size(config["vocab_size"])
        if self.windows:
            writer.add_sliding_window(config["sliding_window"])
        if (cap := config.get("attn_logit_softcapping")) is not None:
            writer.add_attn_logit_softcapping(cap)
        if (cap := config.get("final_logit_softcapping")) is not None:
            writer.add_final_logit_softcapping(cap)


ARCHITECTURES = {
    "llama": Architecture("llama", permutes=True),
    "qwen2": Architecture("qwen2"),
    "qwen3": Architecture("qwen3"),
    "gemma2": Architecture("gemma2", added=1.0, windows=2),
    "gemma3_text": Architecture("gemma3", added=1.0, windows=6, local_base=10000.0),
}
"""By ``model_type`` of a config."""


def architecture_of(config: Mapping[str, Any]) -> Architecture:
    """Return the architecture of a config.

    Raises:
        RequestError: one that is not written, or what its metadata cannot say.
    """
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        raise RequestError(
            f"architecture {kind!r} is not written to GGUF (allowed: {', '.join(ARCHITECTURES)})"
        )
    found = ARCHITECTURES[str(kind)]
    found.check(config)
    return found


def head_size(config: Mapping[str, Any]) -> int:
    """Return the channels of an attention head."""
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def _bases(config: Mapping[str, Any]) -> tuple[float, float | None]:
    """Bases of the rotations: of full attention, and of windows where they have their own."""
    rope = config.get("rope_parameters") or {}
    full = rope.get("full_attention", rope).get("rope_theta", config.get("rope_theta", 10000.0))
    local = rope.get("sliding_attention", {}).get("rope_theta", config.get("rope_local_base_freq"))
    return float(full), local
