"""One class an op: its work (MACs, operations), its bytes by operand, its matrix shape.

An op is written once for every step: its numbers are amounts (``roofline.amounts``) in the
sequences, the new and the cached tokens. Bytes are the least traffic: each operand crosses the
memory interface once, but keys and values that flash attention reads again when the chip cannot
keep them. K and V are written by their projections and read by attention, once per KV head (GQA).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from quant.spec import FormatSpec
from roofline.amounts import NOTHING, ONE, SEQUENCES, TOKENS, Amount, Step

SOFTMAX_OPERATIONS = 5
"""Operations a score: maximum, subtract, exp, sum, divide."""


@dataclass(frozen=True, slots=True)
class Gemm:
    """``batch`` products of ``[m, k] x [k, n]``: m tokens, n outputs, k the reduction."""

    batch: float
    m: float
    n: float
    k: float


@dataclass(frozen=True, slots=True)
class Product:
    """A ``Gemm`` for any step: its sizes are amounts; ``rows`` are m of all products together."""

    batch: Amount
    rows: Amount
    n: Amount
    k: Amount

    def at(self, step: Step) -> Gemm:
        """Return the product of one step; batch and m may be means (experts)."""
        batch, rows, n, k = (a.at(step) for a in (self.batch, self.rows, self.n, self.k))
        sizes = (batch, rows / batch if batch else 0.0, n, k)
        return Gemm(*(int(size) if size == int(size) else size for size in sizes))


@dataclass(frozen=True, slots=True)
class Op:
    """What every op has. ``name`` is the torch module path; subclasses give the numbers.

    ``activations`` is the format of its inputs and outputs.
    """

    name: str
    activations: FormatSpec

    @property
    def kind(self) -> str:
        """The kind of op."""
        return type(self).__name__

    @property
    def product(self) -> Product | None:
        """The matrix product it is; None for element-wise ops."""
        return None

    @property
    def macs(self) -> Amount:
        """Multiply-accumulates."""
        return NOTHING

    @property
    def ops(self) -> Amount:
        """Operations: two a MAC, or element operations."""
        return 2 * self.macs

    @property
    def special_ops(self) -> Amount:
        """Those of the operations that are special functions (exp, square root, division)."""
        return NOTHING

    @property
    def weight_bytes(self) -> Amount:
        """Weights read, with scales, selectors and zero points."""
        return NOTHING

    @property
    def input_bytes(self) -> Amount:
        """Activations read."""
        return NOTHING

    @property
    def output_bytes(self) -> Amount:
        """Activations written."""
        return NOTHING

    @property
    def kv_bytes(self) -> Amount:
        """KV-cache (or recurrent state) bytes read or written."""
        return NOTHING

    @property
    def link_bytes(self) -> Amount:
        """Bytes that leave one device over its link."""
        return NOTHING

    @property
    def parameters(self) -> int:
        """Weights and biases on this device."""
        return 0

    @property
    def stored_bytes(self) -> float:
        """Bytes of its weights in memory."""
        return 0.0

    @property
    def cached_bytes(self) -> Amount:
        """Bytes that it keeps in the KV cache (or state) after the step."""
        return NOTHING


@lru_cache(maxsize=1 << 16)
def stored(spec: FormatSpec, rows: Amount, columns: int) -> Amount:
    """Return the bytes of ``[rows, columns]`` numbers in a format, metadata included."""
    shared = spec.storage_bits(0, columns)
    each = spec.storage_bits(1, columns) - shared
    return rows * (each / 8) + ONE * (shared / 8)


@dataclass(frozen=True, slots=True)
class Linear(Op):
    """``y[tokens, out] = x[tokens, in] @ W[out, in].T``; K and V projections write the cache.

    Attributes:
        in_features: Inputs, on this device.
        out_features: Outputs, on this device.
        weights: Format of W.
        tokens: Rows of x.
        bias: Whether a 16-bit bias is added.
        cache: Format of the KV cache, for projections that write it.
        cached: Numbers a token that go to the cache.
        kept: Tokens that stay in the cache after the step.
        density: Share of the weights that are not pruned (N:M sparsity); MACs and codes shrink.
        index_bits: Bits that say where a kept weight is (N:M sparsity).
        tied: Whether W is the embedding table, which is stored and counted there.
    """

    in_features: int
    out_features: int
    weights: FormatSpec
    tokens: Amount = TOKENS
    bias: bool = False
    cache: FormatSpec | None = None
    cached: int = 0
    kept: Amount = NOTHING
    density: float = 1.0
    index_bits: float = 0.0
    tied: bool = False

    @property
    def product(self) -> Product:
        """One product."""
        return Product(ONE, self.tokens, self.out_features * ONE, self.in_features * ONE)

    @property
    def macs(self) -> Amount:
        """``tokens * in * out``."""
        return self.tokens * (self.in_features * self.out_features * self.density)

    @property
    def stored_bytes(self) -> float:
        """All stored bits of the weight, and a 16-bit bias; 0 where a tied table serves."""
        return 0.0 if self.tied and self.weights.format.is_plain else self._matrix_bytes

    @property
    def _matrix_bytes(self) -> float:
        kept = max(1, round(self.in_features * self.density))
        bits: float = self.weights.storage_bits(self.out_features, kept)
        bits += self.out_features * kept * self.index_bits
        return bits / 8 + (2 * self.out_features if self.bias else 0)

    @property
    def weight_bytes(self) -> Amount:
        """All stored bits of the weight, and a 16-bit bias."""
        return ONE * self._matrix_bytes

    @property
    def input_bytes(self) -> Amount:
        """``x`` once."""
        return stored(self.activations, self.tokens, self.in_features)

    @property
    def output_bytes(self) -> Amount:
        """``y`` once, but for what goes to the cache."""
        plain = self.out_features - self.cached
        return stored(self.activations, self.tokens, plain) if plain > 0 else NOTHING

    @property
    def kv_bytes(self) -> Amount:
        """What goes to the cache, in its format."""
        return NOTHING if self.cache is None else stored(self.cache, self.tokens, self.cached)

    @property
    def cached_bytes(self) -> Amount:
        """The tokens that stay."""
        return NOTHING if self.cache is None else stored(self.cache, self.kept, self.cached)

    @property
    def parameters(self) -> int:
        """Weights and biases; a tied table is counted where it is stored."""
        return 0 if self.tied else self.out_features * (self.in_features + self.bias)


@dataclass(frozen=True, slots=True)
class Experts(Linear):
    """The same matrix of many experts; each token goes through the ``chosen`` best.

    Attributes:
        experts: Experts on this device.
        used: Expected distinct experts that the step uses here.
    """

    experts: int = 1
    used: Amount = ONE

    @property
    def product(self) -> Product:
        """A product per expert in use, of its mean share of the tokens."""
        return Product(self.used, self.tokens, self.out_features * ONE, self.in_features * ONE)

    @property
    def stored_bytes(self) -> float:
        """All experts."""
        return self.experts * self._matrix_bytes

    @property
    def weight_bytes(self) -> Amount:
        """The experts in use."""
        return self.used * self._matrix_bytes

    @property
    def parameters(self) -> int:
        """Of all experts."""
        return self.experts * self.out_features * (self.in_features + self.bias)


@dataclass(frozen=True, slots=True)
class Grouped(Linear):
    """Products of their own for ``groups`` parts of the inputs and outputs (heads of MLA).

    Attributes:
        groups: Products; ``out_features`` is of all groups, ``in_features`` of one.
        image: Numbers read.
    """

    groups: int = 1
    image: Amount = NOTHING

    @property
    def product(self) -> Product:
        """One product per group."""
        outputs = self.out_features // self.groups * ONE
        rows = self.tokens * self.groups
        return Product(self.groups * ONE, rows, outputs, self.in_features * ONE)

    @property
    def input_bytes(self) -> Amount:
        """Each number once (of a convolution: the image, not its unfolded copy)."""
        return stored(self.activations, self.image, 1)


@dataclass(frozen=True, slots=True)
class Convolution(Grouped):
    """A convolution as ``[pixels, in*kh*kw/groups] x [in*kh*kw/groups, out/groups]`` per group."""


@dataclass(frozen=True, slots=True)
class Attention(Op):
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
        bits = self.activations.storage_bits(1, 1 << 20) / (1 << 20)
        return self.pairs * (self.heads * bits / 8)

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

    def parts(self) -> tuple[AttentionScores, Elementwise, AttentionValues]:
        """Return the same work as three ops, whose scores go through memory."""
        path = self.name.rpartition(".")[0]
        shape = (self.heads, self.kv_heads, self.head_dim, self.value_dim, self.kv, self.pairs)
        shape_ = (self.keys, self.reads, self.length, self.tokens, self.one_cache)
        act = self.activations
        scores = AttentionScores(f"{path}.scores", act, *shape, *shape_)
        elements = self.pairs * self.heads
        softmax = Elementwise(
            f"{path}.softmax", act, "Softmax", elements, SOFTMAX_OPERATIONS, special=1
        )
        return scores, softmax, AttentionValues(f"{path}.values", act, *shape, *shape_)


@dataclass(frozen=True, slots=True)
class Elementwise(Op):
    """Norm, softmax, rotary embedding, activation function, residual add, scan.

    Attributes:
        what: Which.
        elements: Outputs.
        operations: Operations per output.
        inputs: Numbers read per output.
        weights_read: Parameters (16 bits).
        special: Special functions per output.
        state: Bytes of recurrent state read and written.
        state_kept: Bytes of recurrent state kept.
        written: Numbers written per output (0 where the next kernel takes them on the chip).
    """

    what: str
    elements: Amount
    operations: float
    inputs: float = 1.0
    weights_read: int = 0
    special: float = 0.0
    state: Amount = NOTHING
    state_kept: Amount = NOTHING
    written: float = 1.0

    @property
    def kind(self) -> str:
        """The kind."""
        return self.what

    @property
    def ops(self) -> Amount:
        """Operations of all outputs."""
        return self.elements * self.operations

    @property
    def special_ops(self) -> Amount:
        """Special functions of all outputs."""
        return self.elements * self.special

    @property
    def weight_bytes(self) -> Amount:
        """Parameters at 16 bits."""
        return ONE * (2.0 * self.weights_read)

    @property
    def stored_bytes(self) -> float:
        """Parameters at 16 bits."""
        return 2.0 * self.weights_read

    @property
    def parameters(self) -> int:
        """Those it reads."""
        return self.weights_read

    @property
    def _element_bytes(self) -> Amount:
        return self.elements * (self.activations.storage_bits(1, 1 << 20) / (8 << 20))

    @property
    def input_bytes(self) -> Amount:
        """Inputs."""
        return self._element_bytes * self.inputs

    @property
    def output_bytes(self) -> Amount:
        """Outputs."""
        return self._element_bytes * self.written

    @property
    def kv_bytes(self) -> Amount:
        """State read and written."""
        return self.state

    @property
    def cached_bytes(self) -> Amount:
        """State kept."""
        return self.state_kept


@dataclass(frozen=True, slots=True)
class Embedding(Op):
    """Rows of the embedding table, one a token."""

    rows: int
    width: int
    weights: FormatSpec
    tokens: Amount = TOKENS

    @property
    def weight_bytes(self) -> Amount:
        """The rows that are read."""
        return stored(self.weights, self.tokens, self.width)

    @property
    def stored_bytes(self) -> float:
        """The table."""
        return self.weights.storage_bits(self.rows, self.width) / 8

    @property
    def parameters(self) -> int:
        """The table."""
        return self.rows * self.width

    @property
    def output_bytes(self) -> Amount:
        """The same rows as activations."""
        return stored(self.activations, self.tokens, self.width)


@dataclass(frozen=True, slots=True)
class Collective(Op):
    """Devices exchange activations over their links.

    Attributes:
        what: ``AllReduce``, ``AllGather``, ``AllToAll`` or ``SendReceive``.
        ranks: Devices that take part.
        width: Numbers a token.
        tokens: Tokens.
    """

    what: str
    ranks: int
    width: float
    tokens: Amount = field(default=TOKENS)

    @property
    def kind(self) -> str:
        """Which."""
        return self.what

    @property
    def message_bytes(self) -> Amount:
        """The message, as collective libraries count it."""
        return self.tokens * (self.width * self.activations.storage_bits(1, 1 << 20) / (8 << 20))

    @property
    def link_bytes(self) -> Amount:
        """Bytes that one device sends: ring algorithms (Patarasuk and Yuan 2009)."""
        others = (self.ranks - 1) / self.ranks
        factor = {"AllReduce": 2 * others, "AllGather": others, "AllToAll": others}
        return self.message_bytes * factor.get(self.what, 1.0)
