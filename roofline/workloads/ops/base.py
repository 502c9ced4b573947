"""Op: what every op has, and the matrix product that it may be."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import NOTHING, ONE, Amount, Step


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
