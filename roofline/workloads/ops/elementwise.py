"""Ops without a product: element-wise functions, embeddings, and exchanges of devices."""

from __future__ import annotations

from dataclasses import dataclass, field

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import NOTHING, ONE, TOKENS, Amount
from roofline.workloads.ops.base import stored
from roofline.workloads.ops.defaults import BaseOp
from roofline.workloads.ops.kernels import RINGS, unknown_class

NORM, SOFTMAX, ROTARY, ACTIVATION = "Norm", "Softmax", "Rotary", "Activation"
RESIDUAL, PARAMETERS, SCAN, CONVOLUTION = "Residual", "Parameters", "Scan", "Convolution"
COPY, POOL, OTHER = "Copy", "Pool", "Elementwise"
UNKNOWN = "Unknown"
"""A kernel that a trace does not know: counted as an operation for each element."""
CLASS_OF = {
    NORM: "norm",
    SOFTMAX: "softmax",
    ROTARY: "rotary",
    ACTIVATION: "activation",
    RESIDUAL: "residual",
    PARAMETERS: "residual",
    SCAN: "activation",
    CONVOLUTION: "activation",
    COPY: "activation",
    POOL: "activation",
    OTHER: "activation",
    UNKNOWN: "activation",
}
"""What an element-wise op does to the class of its kernels."""
FUSED = (RESIDUAL, PARAMETERS)
"""What serving kernels fuse into their neighbours (their law was measured with operands in the
cache)."""
MIXING = (SCAN, CONVOLUTION)
"""What carries a state from token to token."""
ALL_REDUCE, ALL_GATHER, ALL_TO_ALL = "AllReduce", "AllGather", "AllToAll"
SENDS = "SendReceive"
RING_OF = {ALL_REDUCE: "all_reduce", ALL_GATHER: "all_gather", ALL_TO_ALL: "all_to_all"}
"""What collectives run as a ring, and the class of its kernels."""


@dataclass(frozen=True, slots=True)
class Elementwise(BaseOp):
    """Norm, softmax, rotary embedding, activation function, residual add, scan.

    Attributes:
        what: Which; a calibration knows those of ``CLASS_OF``.
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
        """What it does."""
        return self.what

    @property
    def is_fused(self) -> bool:
        """Whether it is of ``FUSED``."""
        return self.what in FUSED

    @property
    def mixes_tokens(self) -> bool:
        """Whether it is of ``MIXING``."""
        return self.what in MIXING

    def kernel_class(self, queries: float) -> str:
        """Return the class of what it does.

        Raises:
            RequestError: none is known for it.
        """
        if self.what not in CLASS_OF:
            raise unknown_class(self.name, self.what, ", ".join(CLASS_OF))
        return CLASS_OF[self.what]

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
        return self.elements * self.activations.bytes_each

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
class ShortConvolution(Elementwise):
    """A convolution of each channel with its own few weights, ``[channels, kernel]``.

    Attributes:
        weights: Format of the kernels.
        channels: Kernels.
        kernel: Weights of one.
    """

    weights: FormatSpec = field(kw_only=True)
    channels: int = field(kw_only=True)
    kernel: int = field(kw_only=True)

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """``(channels, kernel)``."""
        return self.channels, self.kernel

    @property
    def weight_bytes(self) -> Amount:
        """All of them."""
        return ONE * self.stored_bytes

    @property
    def stored_bytes(self) -> float:
        """The kernels in their format, other parameters at 16 bits."""
        return self.weights.storage_bits(self.channels, self.kernel) / 8 + 2.0 * self.weights_read

    @property
    def parameters(self) -> int:
        """Kernels and other parameters."""
        return self.channels * self.kernel + self.weights_read


@dataclass(frozen=True, slots=True)
class Embedding(BaseOp):
    """Rows of the embedding table, one a token.

    Attributes:
        rows: Of the table.
        width: Of the table.
        weights: Format of the table.
        tokens: Rows that are read.
        tied: Whether the table is stored and counted at another op.
    """

    rows: int
    width: int
    weights: FormatSpec
    tokens: Amount = TOKENS
    tied: bool = False

    def kernel_class(self, queries: float) -> str:
        """Return the class of embeddings."""
        return "embedding"

    @property
    def is_apart(self) -> bool:
        """Tables stay as they are unless they are named."""
        return True

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """``(rows, width)``."""
        return self.rows, self.width

    @property
    def weight_bytes(self) -> Amount:
        """The rows that are read."""
        return stored(self.weights, self.tokens, self.width)

    @property
    def stored_bytes(self) -> float:
        """The table; 0 where another op has it."""
        return 0.0 if self.tied else self.weights.storage_bits(self.rows, self.width) / 8

    @property
    def parameters(self) -> int:
        """The table; 0 where another op has it."""
        return 0 if self.tied else self.rows * self.width

    @property
    def output_bytes(self) -> Amount:
        """The same rows as activations."""
        return stored(self.activations, self.tokens, self.width)


@dataclass(frozen=True, slots=True)
class Collective(BaseOp):
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
    tokens: Amount = TOKENS

    @property
    def kind(self) -> str:
        """Which."""
        return self.what

    def kernel_class(self, queries: float) -> str:
        """Return the class of the collective; one message to a neighbour is like all to all.

        Raises:
            RequestError: none is known for it.
        """
        return "all_to_all" if self.what == SENDS else self._ring

    @property
    def _ring(self) -> str:
        if self.what not in RING_OF:
            raise unknown_class(self.name, self.what, ", ".join((*RING_OF, SENDS)))
        return RING_OF[self.what]

    @property
    def message_bytes(self) -> Amount:
        """The message, as collective libraries count it."""
        return self.tokens * (self.width * self.activations.bytes_each)

    @property
    def link_bytes(self) -> Amount:
        """Bytes that one device sends: once to a neighbour, or by ring algorithms.

        Raises:
            RequestError: an unknown collective: how much it sends is not known either.
        """
        if self.what == SENDS:
            return self.message_bytes
        return self.message_bytes * (RINGS[self._ring] * ((self.ranks - 1) / self.ranks))
