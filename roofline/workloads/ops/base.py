"""Op: what every op answers, and the matrix product that it may be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import ONE, Amount, Step


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
class Operands:
    """What a product multiplies.

    Attributes:
        stationary: Format of what plays the weights, ``[k, n]``: a weight matrix; keys or values;
            the maps and the state of linear attention; the second of two activations.
        moving: Format of what moves past it, ``[m, k]``: activations.
        stationary_bytes: Bytes of the first that cross the memory interface.
        moving_bytes: Those of the second. What an op moves beside the two are its outputs.
    """

    stationary: FormatSpec
    moving: FormatSpec
    stationary_bytes: Amount
    moving_bytes: Amount


class Op(Protocol):
    """What the rest of the house asks of an op; ``BaseOp`` answers most of it.

    Ops are compared and hashed by value: layers repeat them, and each is evaluated once.
    """

    @property
    def name(self) -> str:
        """Torch module path."""

    @property
    def kind(self) -> str:
        """The kind of op, as reports show it."""

    @property
    def activations(self) -> FormatSpec:
        """Format of its inputs and outputs."""

    @property
    def weights(self) -> FormatSpec | None:
        """Format of its weight matrix; None where it has none."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Paths of its matrices, as plans name them; empty: no plan names one."""

    @property
    def is_apart(self) -> bool:
        """Whether a plan's ``"*"`` leaves its matrix alone: a table of embeddings."""

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """``(out, in)`` of each of its matrices, on this device; nothing where it has none."""

    @property
    def product(self) -> Product | None:
        """The matrix product it is; None for element-wise ops."""

    @property
    def operands(self) -> Operands | None:
        """What its product multiplies; None exactly where ``product`` is."""

    @property
    def macs(self) -> Amount:
        """Multiply-accumulates."""

    @property
    def ops(self) -> Amount:
        """Operations: two a MAC, or element operations."""

    @property
    def special_ops(self) -> Amount:
        """Those of the operations that are special functions (exp, square root, division)."""

    @property
    def weight_bytes(self) -> Amount:
        """Weights read, with scales, selectors and zero points."""

    @property
    def input_bytes(self) -> Amount:
        """Activations read."""

    @property
    def output_bytes(self) -> Amount:
        """Activations written."""

    @property
    def kv_bytes(self) -> Amount:
        """KV-cache (or recurrent state) bytes read or written."""

    @property
    def link_bytes(self) -> Amount:
        """Bytes that leave one device over its link."""

    @property
    def parameters(self) -> int:
        """Weights and biases on this device."""

    @property
    def stored_bytes(self) -> float:
        """Bytes of its weights in memory."""

    @property
    def cached_bytes(self) -> Amount:
        """Bytes that it keeps in the KV cache (or state) after the step."""

    @property
    def mixes_tokens(self) -> bool:
        """Whether an output depends on more than one token: attention, convolutions, scans."""

    @property
    def is_fused(self) -> bool:
        """Whether serving kernels fuse it into their neighbours.

        It then pays for bytes, not for a launch, and for fewer bytes than alone.
        """

    @property
    def launch_group(self) -> tuple[object, ...] | None:
        """What neighbours must share to run as one kernel (q, k and v); None: it runs alone."""

    @property
    def ranks(self) -> int:
        """Devices that take part; each further one adds to a collective's launch."""

    def kernel_class(self, queries: float) -> str:
        """Return the class of kernels whose law it follows (``ops.kernels.CLASSES``).

        Args:
            queries: New tokens of a sequence: prefill and decode attend with other kernels.

        Raises:
            RequestError: none is known for it.
        """

    def unfused(self) -> tuple[Op, ...]:
        """Return what a machine without fused attention runs in its place: often itself."""

    def named(self, name: str) -> Op:
        """Return the same op under another path."""

    def with_weights(self, spec: FormatSpec) -> Op:
        """Return the op with its weight matrix in another format.

        Raises:
            RequestError: it has no weight matrix.
        """

    def with_formats(self, formats: Mapping[str, FormatSpec]) -> tuple[Op, ...]:
        """Return the op with the formats of its ``paths``: several ops where they differ.

        Args:
            formats: Path of a matrix to its format; matrices without one keep theirs.
        """

    def with_amounts(self, change: Callable[[Amount], Amount]) -> Op:
        """Return the op with every amount that defines it (its tokens, keys) changed."""


def has_matrix(op: Op) -> bool:
    """Return whether an op multiplies by a weight matrix, whose format a plan may set."""
    return op.weights is not None and op.product is not None


@lru_cache(maxsize=1 << 16)
def stored(spec: FormatSpec, rows: Amount, columns: int) -> Amount:
    """Return the bytes of ``[rows, columns]`` numbers in a format, metadata included."""
    shared = spec.storage_bits(0, columns)
    each = spec.storage_bits(1, columns) - shared
    return rows * (each / 8) + ONE * (shared / 8)
