"""The Llama family: RMS norms, rotary positions, grouped-query attention, gated MLP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from quant.common.config import parse
from quant.common.errors import RequestError
from quant.spec import FormatSpec
from roofline.ops import AttentionScores, AttentionValues, Elementwise, Embedding, Linear, Op

FormatOf = Callable[[str], FormatSpec]


@dataclass(frozen=True)
class LlamaConfig:
    """The keys of a Hugging Face config that shape the work."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    vocab_size: int
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    tie_word_embeddings: bool = False
    attention_bias: bool = False
    mlp_bias: bool = False

    @property
    def kv_heads(self) -> int:
        """Key and value heads."""
        return self.num_key_value_heads or self.num_attention_heads

    @property
    def width(self) -> int:
        """Width of one head."""
        return self.head_dim or self.hidden_size // self.num_attention_heads

    @property
    def kv_width(self) -> int:
        """Keys (or values) of one token."""
        return self.kv_heads * self.width

    def linears(self, layer: int) -> dict[str, tuple[int, int]]:
        """Return module path -> ``(out, in)`` of a layer's linear modules."""
        hidden, inner = self.hidden_size, self.intermediate_size
        heads, kv = self.num_attention_heads * self.width, self.kv_width
        at = f"model.layers.{layer}"
        return {
            f"{at}.self_attn.q_proj": (heads, hidden),
            f"{at}.self_attn.k_proj": (kv, hidden),
            f"{at}.self_attn.v_proj": (kv, hidden),
            f"{at}.self_attn.o_proj": (hidden, heads),
            f"{at}.mlp.gate_proj": (inner, hidden),
            f"{at}.mlp.up_proj": (inner, hidden),
            f"{at}.mlp.down_proj": (hidden, inner),
        }

    def has_bias(self, path: str) -> bool:
        """Return whether a linear module has a bias."""
        return self.attention_bias if ".self_attn." in path else self.mlp_bias

    @property
    def parameters(self) -> int:
        """All parameters; a tied head counts once."""
        layer = sum(o * i + o * self.has_bias(p) for p, (o, i) in self.linears(0).items())
        embeddings = self.vocab_size * self.hidden_size * (1 if self.tie_word_embeddings else 2)
        norms = self.hidden_size * (2 * self.num_hidden_layers + 1)
        return layer * self.num_hidden_layers + embeddings + norms


def parse_config(data: Mapping[str, Any]) -> LlamaConfig:
    """Return a checked configuration.

    Raises:
        RequestError: a missing key, a size below 1, heads that do not divide.
    """
    known = {field.name for field in fields(LlamaConfig)}
    config = parse({k: v for k, v in data.items() if k in known}, LlamaConfig, "config")
    for field in fields(LlamaConfig):
        value = getattr(config, field.name)
        if isinstance(value, int) and not isinstance(value, bool) and value < 1:
            raise RequestError(f"config: {field.name} = {value}: at least 1")
    if config.num_attention_heads % config.kv_heads:
        raise RequestError(
            f"config: {config.num_attention_heads} heads cannot share {config.kv_heads} KV heads"
        )
    if config.head_dim is None and config.hidden_size % config.num_attention_heads:
        raise RequestError(
            f"config: hidden_size {config.hidden_size} does not divide into "
            f"{config.num_attention_heads} heads"
        )
    return config


@dataclass(frozen=True)
class Step:
    """What one forward pass does: new tokens and cached tokens of each sequence, and formats.

    ``logits`` is how many positions of each sequence go through the head.
    """

    batch: int
    queries: int
    keys: int
    logits: int
    weights: FormatOf
    activations: FormatSpec
    kv: FormatSpec


def build(config: LlamaConfig, step: Step) -> tuple[Op, ...]:
    """Return the ops of one forward pass, in order."""
    tokens, act = step.batch * step.queries, step.activations
    table = step.weights("model.embed_tokens")
    ops: list[Op] = [Embedding("model.embed_tokens", tokens, config.hidden_size, table, act)]
    for layer in range(config.num_hidden_layers):
        ops += _layer(config, step, layer)
    rows = step.batch * step.logits
    ops.append(_norm("model.norm", rows, config.hidden_size, act))
    head = step.weights("lm_head")
    ops.append(Linear("lm_head", rows, config.hidden_size, config.vocab_size, head, act))
    return tuple(ops)


def _layer(config: LlamaConfig, step: Step, layer: int) -> list[Op]:
    at, tokens, hidden = f"model.layers.{layer}", step.batch * step.queries, config.hidden_size
    act, heads = step.activations, config.num_attention_heads
    linear = {path: _linear(config, step, path, *s) for path, s in config.linears(layer).items()}
    q, k, v, o, gate, up, down = linear.values()
    shape = (step.batch, heads, config.kv_heads, config.width, step.queries, step.keys)
    scores = AttentionScores(f"{at}.self_attn.scores", *shape, step.kv, act)
    values = AttentionValues(f"{at}.self_attn.values", *shape, step.kv, act)
    rotated = tokens * (heads + config.kv_heads) * config.width
    pairs = step.batch * heads * scores.visible
    return [
        _norm(f"{at}.input_layernorm", tokens, hidden, act),
        q,
        k,
        v,
        Elementwise(f"{at}.self_attn.rotary", "Rotary", rotated, 3, act),
        scores,
        Elementwise(f"{at}.self_attn.softmax", "Softmax", pairs, 5, act),
        values,
        o,
        Elementwise(f"{at}.self_attn.residual", "Residual", tokens * hidden, 1, act, inputs=2),
        _norm(f"{at}.post_attention_layernorm", tokens, hidden, act),
        gate,
        up,
        Elementwise(f"{at}.mlp.act_fn", "Activation", tokens * gate.out_features, 5, act, inputs=2),
        down,
        Elementwise(f"{at}.mlp.residual", "Residual", tokens * hidden, 1, act, inputs=2),
    ]


def _linear(config: LlamaConfig, step: Step, path: str, rows: int, columns: int) -> Linear:
    cache = step.kv if path.endswith(("k_proj", "v_proj")) else None
    tokens, bias = step.batch * step.queries, config.has_bias(path)
    return Linear(path, tokens, columns, rows, step.weights(path), step.activations, bias, cache)


def _norm(name: str, rows: int, width: int, activations: FormatSpec) -> Elementwise:
    """RMS norm: square, add, scale, multiply by the weight; 4 operations an element."""
    return Elementwise(name, "Norm", rows * width, 4, activations, parameters=width)
