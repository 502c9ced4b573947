"""Attention, as one kernel or as three."""

from __future__ import annotations

from dataclasses import dataclass

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import ONE, SEQUENCES, TOKENS, Amount
from roofline.workloads.ops.base import Operands, Product, stored
from roofline.workloads.ops.defaults import BaseOp
from roofline.workloads.ops.elementwise import SOFTMAX, Elementwise
from roofline.workloads.ops.kernels import DECODE, HALF, PREFILL

SOFTMAX_OPERATIONS = 5
"""Operations a score: maximum, subtract, exp, sum, divide."""


@dataclass(frozen=True, slots=True)
class Attention(BaseOp):
    """What scores and values share.

    Attributes:
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a query and a key.
        value_dim: Width of a value.
        kv: Format of the cache.
        pairs: Visible query-key pairs of one head, all sequences.
        keys: Keys that the queries see together, all sequences.
        reads: Keys read, with those read again.
        length: Keys that the queries of one sequence see together.
        tokens: Queries.
        one_cache: Whether values are part of the keys' bytes (MLA's latents).
    """

    heads: int
    kv_heads: int
    head_dim: int
    value_dim: int
    kv: FormatSpec
    pairs: Amount
    keys: Amount
    reads: Amount
    length: Amount
    tokens: Amount = TOKENS
    one_cache: bool = False

    @property
    def query_bytes(self) -> Amount:
        """Queries: ``[tokens, heads * head_dim]``."""
        return stored(self.activations, self.tokens, self.heads * self.head_dim)

    @property
    def result_bytes(self) -> Amount:
        """Outputs: ``[tokens, heads * value_dim]``."""
        return stored(self.activations, self.tokens, self.heads * self.value_dim)

    @property
    def score_bytes(self) -> Amount:
        """Visible scores; a grouped format's scales are spread over them."""
        return self.pairs * (self.heads * self.activations.bytes_each)

    @property
    def mixes_tokens(self) -> bool:
        """Queries see keys."""
        return True

    @property
    def operands(self) -> Operands:
        """Keys or values play the weights."""
        return Operands(self.kv, self.activations, self.kv_bytes, self.input_bytes)

    def kernel_class(self, queries: float) -> str:
        """Return the class of 16-bit products: keys and values are widened on the way."""
        return HALF

    def product_of(self, outputs: Amount, reduction: Amount) -> Product:
        """Return one product per KV head; its queries are those of all heads that share it."""
        rows = self.tokens * self.heads
        return Product(SEQUENCES * self.kv_heads, rows, outputs, reduction)


@dataclass(frozen=True, slots=True)
class AttentionScores(Attention):
    """``q @ k.T`` for each head."""

    @property
    def product(self) -> Product:
        """One product per KV head."""
        return self.product_of(self.length, self.head_dim * ONE)

    @property
    def macs(self) -> Amount:
        """Only visible pairs."""
        return self.pairs * (self.heads * self.head_dim)

    @property
    def kv_bytes(self) -> Amount:
        """Keys read once per KV head."""
        return stored(self.kv, self.keys, self.kv_heads * self.head_dim)

    @property
    def input_bytes(self) -> Amount:
        """Queries."""
        return self.query_bytes

    @property
    def output_bytes(self) -> Amount:
        """Scores."""
        return self.score_bytes


@dataclass(frozen=True, slots=True)
class AttentionValues(Attention):
    """``softmax(scores) @ v`` for each head."""

    @property
    def product(self) -> Product:
        """One product per KV head."""
        return self.product_of(self.value_dim * ONE, self.length)

    @property
    def macs(self) -> Amount:
        """Only visible pairs."""
        return self.pairs * (self.heads * self.value_dim)

    @property
    def kv_bytes(self) -> Amount:
        """Values read once per KV head (with MLA: the latents once more)."""
        return stored(self.kv, self.keys, self.kv_heads * self.value_dim)

    @property
    def input_bytes(self) -> Amount:
        """Probabilities."""
        return self.score_bytes

    @property
    def output_bytes(self) -> Amount:
        """Outputs of the heads."""
        return self.result_bytes


@dataclass(frozen=True, slots=True)
class FlashAttention(Attention):
    """Scores, softmax and values in one kernel: scores never leave the chip.

    The softmax runs beside the products, on the special-function units; ``ops`` are the products'.

    Queries are read and outputs written once; keys and values once per block of queries
    (``amounts.blocked_keys``; Dao et al. 2022, "FlashAttention", arXiv 2205.14135).
    """

    @property
    def macs(self) -> Amount:
        """Scores and values, visible pairs."""
        return self.pairs * (self.heads * (self.head_dim + self.value_dim))

    @property
    def product(self) -> Product:
        """The scores' product and the values' as one of the summed width."""
        return self.product_of(self.length, (self.head_dim + self.value_dim) * ONE)

    @property
    def special_ops(self) -> Amount:
        """One exp a visible pair."""
        return self.pairs * self.heads

    @property
    def kv_bytes(self) -> Amount:
        """Keys and values, block by block."""
        width = self.head_dim + (0 if self.one_cache else self.value_dim)
        return stored(self.kv, self.reads, self.kv_heads * width)

    @property
    def input_bytes(self) -> Amount:
        """Queries."""
        return self.query_bytes

    @property
    def output_bytes(self) -> Amount:
        """Outputs of the heads."""
        return self.result_bytes

    def kernel_class(self, queries: float) -> str:
        """Return the class of attention kernels: one for prompts, one for steps."""
        return PREFILL if queries > 1 else DECODE

    def unfused(self) -> tuple[AttentionScores, Elementwise, AttentionValues]:
        """Return the same work as three ops, whose scores go through memory."""
        path = self.name.rpartition(".")[0]
        shape = (self.heads, self.kv_heads, self.head_dim, self.value_dim, self.kv, self.pairs)
        shape_ = (self.keys, self.reads, self.length, self.tokens, self.one_cache)
        act = self.activations
        scores = AttentionScores(f"{path}.scores", act, *shape, *shape_)
        elements = self.pairs * self.heads
        softmax = Elementwise(
            f"{path}.softmax", act, SOFTMAX, elements, SOFTMAX_OPERATIONS, special=1
        )
        return scores, softmax, AttentionValues(f"{path}.values", act, *shape, *shape_)


@dataclass(frozen=True, slots=True)
class LinearAttention(BaseOp):
    """Linear attention with a short exact window (LoLCATs, arXiv 2410.10254).

    Attributes:
        heads: Heads.
        head_dim: Width of queries and keys.
        value_dim: Width of values.
        features: Width of the feature maps.
        window: Keys under the exact softmax.
        tokens: Queries.
    """

    heads: int
    head_dim: int
    value_dim: int
    features: int
    window: int
    tokens: Amount = TOKENS

    @property
    def product(self) -> Product:
        """All its products as one of the summed size, one a head.

        ``(features + features + window) * (head_dim + value_dim)`` MACs a token: feature maps of
        query and key, update and reading of the state, scores and values of the window.
        """
        width, depth = self.head_dim + self.value_dim, 2 * self.features + self.window
        rows = self.tokens * self.heads
        return Product(SEQUENCES * self.heads, rows, width * ONE, depth * ONE)

    @property
    def operands(self) -> Operands:
        """The maps and the state play the weights: the float32 state is rounded when it is used."""
        read = self.weight_bytes + self._state_bytes
        return Operands(self.activations, self.activations, read, self.input_bytes)

    @property
    def mixes_tokens(self) -> bool:
        """The state holds all tokens before."""
        return True

    def kernel_class(self, queries: float) -> str:
        """Return the class of attention kernels, the nearest that is measured."""
        return PREFILL if queries > 1 else DECODE

    @property
    def macs(self) -> Amount:
        """Feature maps of query and key, update and reading of the state, the window."""
        maps = 2 * self.head_dim * self.features
        state = 2 * self.features * self.value_dim
        exact = self.window * (self.head_dim + self.value_dim)
        return self.tokens * (self.heads * (maps + state + exact))

    @property
    def special_ops(self) -> Amount:
        """Softmax of the feature maps and of the window."""
        return self.tokens * (self.heads * (2 * self.features + self.window))

    @property
    def parameters(self) -> int:
        """Two learned maps a head."""
        return 2 * self.heads * self.head_dim * self.features

    @property
    def stored_bytes(self) -> float:
        """The maps at 16 bits."""
        return 2.0 * self.parameters

    @property
    def weight_bytes(self) -> Amount:
        """The maps."""
        return ONE * self.stored_bytes

    @property
    def input_bytes(self) -> Amount:
        """Queries, keys and values."""
        width = 2 * self.head_dim + self.value_dim
        return stored(self.activations, self.tokens, self.heads * width)

    @property
    def output_bytes(self) -> Amount:
        """Outputs of the heads."""
        return stored(self.activations, self.tokens, self.heads * self.value_dim)

    @property
    def _state_bytes(self) -> Amount:
        return SEQUENCES * (4 * self.heads * self.features * self.value_dim)

    @property
    def kv_bytes(self) -> Amount:
        """The state (float32), read and written."""
        return self._state_bytes * 2

    @property
    def cached_bytes(self) -> Amount:
        """The state."""
        return self._state_bytes
