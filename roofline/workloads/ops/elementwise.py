"""Ops without a product: element-wise functions, embeddings, and exchanges of devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import NOTHING, ONE, TOKENS, Amount
from roofline.workloads.ops.base import Op, stored


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
