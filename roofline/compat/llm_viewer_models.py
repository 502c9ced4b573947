"""The sizes of a model as LLM-Viewer's family files read them; see ``llm_viewer``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from quant.common.errors import RequestError

GPTJ_INTERMEDIATE = 16384
"""Their GPT-J has this width whatever its config says."""


class FamilySizes(NamedTuple):
    """The sizes of a model, as their family files read them."""

    hidden: int
    inner: int
    heads: int
    kv_heads: int
    layers: int
    vocabulary: int
    gate: bool
    norms: tuple[str, ...]


def family_sizes(config: Mapping[str, Any]) -> FamilySizes:
    """Read the sizes under the names that their family file uses.

    Raises:
        RequestError: a field is missing, or not a positive integer.
    """
    kind = str(config.get("model_type", "llama"))
    if kind == "gptj":
        heads = _size(config, "num_attention_heads", "n_head")
        sizes = (_size(config, "n_embd"), GPTJ_INTERMEDIATE, heads, heads)
        layers = _size(config, "num_hidden_layers", "n_layer")
        return FamilySizes(*sizes, layers, _size(config, "vocab_size"), False, ("attn_norm",))
    norms = ("attn_norm", "mlp_norm")
    heads = _size(config, "num_attention_heads")
    if kind == "chatglm":
        shared = config.get("multi_query_attention")
        kv_heads = _size(config, "multi_query_group_num") if shared else heads
        sizes = (_size(config, "hidden_size"), _size(config, "ffn_hidden_size"), heads, kv_heads)
        layers = _size(config, "num_layers")
        return FamilySizes(*sizes, layers, _size(config, "padded_vocab_size"), True, norms)
    inner = _size(config, "ffn_dim" if kind == "opt" else "intermediate_size")
    kv_heads = heads if config.get("num_key_value_heads") is None else 0
    kv_heads = kv_heads or _size(config, "num_key_value_heads")
    sizes = (_size(config, "hidden_size"), inner, heads, kv_heads)
    layers = _size(config, "num_hidden_layers")
    return FamilySizes(*sizes, layers, _size(config, "vocab_size"), True, norms)


def _size(config: Mapping[str, Any], *names: str) -> int:
    for name in names:
        value = config.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise RequestError(f"config: {name} = {value!r:.40}: a positive integer is needed")
            return value
    raise RequestError(f"config: {' or '.join(names)} is missing")
