"""One class an op: its work (MACs, operations), its bytes by operand, its matrix shape.

All byte counts are the least traffic: each operand crosses the memory interface once. K and V
are written by their projections and read by attention, once per KV head (GQA).
"""

from __future__ import annotations

from dataclasses import dataclass

from quant.spec import FormatSpec


@dataclass(frozen=True, slots=True)
class Gemm:
    """``batch`` products of ``[m, k] x [k, n]``: m tokens, n outputs, k the reduction."""

    batch: int
    m: int
    n: int
    k: int


@dataclass(frozen=True, slots=True)
class Op:
    """What every op has. ``name`` is the torch module path; subclasses give the numbers."""

    name: str

    @property
    def op(self) -> str:
        """The kind of op."""
        return type(self).__name__

    @property
    def count(self) -> int:
        """How many of them: always 1, ops are per layer."""
        return 1

    @property
    def gemm(self) -> Gemm | None:
        """The matrix product it is; None for element-wise ops."""
        return None

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return 0

    @property
    def ops(self) -> int:
        """Operations: two a MAC, or element operations."""
        return 2 * self.macs

    @property
    def weight_bytes(self) -> float:
        """Weights read, with scales, selectors and zero points."""
        return 0.0

    @property
    def input_bytes(self) -> float:
        """Activations read."""
        return 0.0

    @property
    def output_bytes(self) -> float:
        """Activations written."""
        return 0.0

    @property
    def kv_bytes(self) -> float:
        """KV-cache bytes read or written."""
        return 0.0

    @property
    def activation_bytes(self) -> float:
        """Activations read and written."""
        return self.input_bytes + self.output_bytes

    @property
    def bytes(self) -> float:
        """All bytes that cross the memory interface."""
        return self.weight_bytes + self.activation_bytes + self.kv_bytes


@dataclass(frozen=True, slots=True)
class Linear(Op):
    """``y[tokens, out] = x[tokens, in] @ W[out, in].T``; K and V projections write the cache."""

    tokens: int
    in_features: int
    out_features: int
    weights: FormatSpec
    activations: FormatSpec
    bias: bool = False
    cache: FormatSpec | None = None

    @property
    def gemm(self) -> Gemm:
        """One product."""
        return Gemm(1, self.tokens, self.out_features, self.in_features)

    @property
    def macs(self) -> int:
        """``tokens * in * out``."""
        return self.tokens * self.in_features * self.out_features

    @property
    def weight_bytes(self) -> float:
        """All stored bits of the weight, and an fp16 bias."""
        bits = self.weights.storage_bits(self.out_features, self.in_features)
        return bits / 8 + (2 * self.out_features if self.bias else 0)

    @property
    def input_bytes(self) -> float:
        """``x`` once."""
        return self.activations.storage_bits(self.tokens, self.in_features) / 8

    @property
    def output_bytes(self) -> float:
        """``y`` once; 0 where it goes to the cache."""
        if self.cache is not None:
            return 0.0
        return self.activations.storage_bits(self.tokens, self.out_features) / 8

    @property
    def kv_bytes(self) -> float:
        """``y`` in the cache's format."""
        if self.cache is None:
            return 0.0
        return self.cache.storage_bits(self.tokens, self.out_features) / 8


@dataclass(frozen=True, slots=True)
class Attention(Op):
    """What scores and values share.

    Attributes:
        batch: Sequences.
        heads: Query heads.
        kv_heads: Key and value heads.
        head_dim: Width of a head.
        queries: New tokens of a sequence.
        keys: Cached and new tokens of a sequence.
        kv: Format of the cache.
        activations: Format of queries, scores and outputs.
    """

    batch: int
    heads: int
    kv_heads: int
    head_dim: int
    queries: int
    keys: int
    kv: FormatSpec
    activations: FormatSpec

    @property
    def visible(self) -> int:
        """Query-key pairs that the causal mask leaves, for one head of one sequence."""
        cached = self.keys - self.queries
        return self.queries * cached + self.queries * (self.queries + 1) // 2

    @property
    def macs(self) -> int:
        """Only visible pairs."""
        return self.batch * self.heads * self.head_dim * self.visible

    @property
    def kv_bytes(self) -> float:
        """Keys (or values) read once per KV head."""
        return self.batch * self.kv.storage_bits(self.keys, self.kv_heads * self.head_dim) / 8

    @property
    def query_bytes(self) -> float:
        """Queries, or outputs: ``[batch, queries, heads * head_dim]``."""
        width = self.heads * self.head_dim
        return self.activations.storage_bits(self.batch * self.queries, width) / 8

    @property
    def score_bytes(self) -> float:
        """Visible scores."""
        return self.activations.storage_bits(self.batch * self.heads, self.visible) / 8


@dataclass(frozen=True, slots=True)
class AttentionScores(Attention):
    """``q @ k.T`` for each head."""

    @property
    def gemm(self) -> Gemm:
        """One product per KV head; its queries are those of all heads that share it."""
        shared = self.heads // self.kv_heads
        return Gemm(self.batch * self.kv_heads, self.queries * shared, self.keys, self.head_dim)

    @property
    def input_bytes(self) -> float:
        """Queries."""
        return self.query_bytes

    @property
    def output_bytes(self) -> float:
        """Scores."""
        return self.score_bytes


@dataclass(frozen=True, slots=True)
class AttentionValues(Attention):
    """``softmax(scores) @ v`` for each head."""

    @property
    def gemm(self) -> Gemm:
        """One product per KV head."""
        shared = self.heads // self.kv_heads
        return Gemm(self.batch * self.kv_heads, self.queries * shared, self.head_dim, self.keys)

    @property
    def input_bytes(self) -> float:
        """Probabilities."""
        return self.score_bytes

    @property
    def output_bytes(self) -> float:
        """Outputs of the heads."""
        return self.query_bytes


@dataclass(frozen=True, slots=True)
class Elementwise(Op):
    """Norm, softmax, rotary embedding, activation function, residual add.

    Attributes:
        kind: Which.
        elements: Outputs.
        operations: Operations per output.
        inputs: Numbers read per output.
        parameters: Weights read (fp16).
        activations: Format of inputs and outputs.
    """

    kind: str
    elements: int
    operations: int
    activations: FormatSpec
    inputs: float = 1.0
    parameters: int = 0

    @property
    def op(self) -> str:
        """The kind."""
        return self.kind

    @property
    def ops(self) -> int:
        """Operations of all outputs."""
        return self.elements * self.operations

    @property
    def weight_bytes(self) -> float:
        """Parameters at 16 bits."""
        return 2.0 * self.parameters

    @property
    def input_bytes(self) -> float:
        """Inputs."""
        return self.inputs * self.output_bytes

    @property
    def output_bytes(self) -> float:
        """Outputs."""
        return self.activations.storage_bits(1, self.elements) / 8


@dataclass(frozen=True, slots=True)
class Embedding(Op):
    """Rows of the embedding table, one a token."""

    tokens: int
    width: int
    weights: FormatSpec
    activations: FormatSpec

    @property
    def weight_bytes(self) -> float:
        """The rows that are read."""
        return self.weights.storage_bits(self.tokens, self.width) / 8

    @property
    def output_bytes(self) -> float:
        """The same rows as activations."""
        return self.activations.storage_bits(self.tokens, self.width) / 8
