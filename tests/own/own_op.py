"""An op: a low-rank adapter beside a linear layer, its two small matrices as one op."""

from __future__ import annotations

from dataclasses import dataclass

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import ONE, TOKENS, Amount
from roofline.workloads.ops import Operands, Product
from roofline.workloads.ops.base import stored
from roofline.workloads.ops.defaults import BaseOp
from roofline.workloads.ops.kernels import product_class


@dataclass(frozen=True, slots=True)
class Adapter(BaseOp):
    """``x [tokens, width] @ A.T @ B.T``: counted as one product over both ranks.

    Attributes:
        width: Inputs and outputs.
        rank: Width between the two matrices.
        weights: Format of both.
    """

    width: int
    rank: int
    weights: FormatSpec

    @property
    def product(self) -> Product:
        """One product of twice the rank."""
        return Product(ONE, TOKENS, 2 * self.rank * ONE, self.width * ONE)

    @property
    def operands(self) -> Operands:
        """The matrices, and the activations."""
        return Operands(self.weights, self.activations, self.weight_bytes, self.input_bytes)

    @property
    def macs(self) -> Amount:
        """Both products."""
        return TOKENS * (2.0 * self.width * self.rank)

    @property
    def parameters(self) -> int:
        """Both matrices."""
        return 2 * self.width * self.rank

    @property
    def stored_bytes(self) -> float:
        """Both matrices."""
        return self.weights.storage_bits(2 * self.rank, self.width) / 8

    @property
    def weight_bytes(self) -> Amount:
        """Both matrices, once."""
        return ONE * self.stored_bytes

    @property
    def input_bytes(self) -> Amount:
        """The inputs, once."""
        return stored(self.activations, TOKENS, self.width)

    @property
    def output_bytes(self) -> Amount:
        """The outputs, once."""
        return stored(self.activations, TOKENS, self.width)

    def kernel_class(self, queries: float) -> str:
        """Return that of a product."""
        return product_class(self.weights, self.activations)
