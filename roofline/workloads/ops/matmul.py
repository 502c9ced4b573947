"""The product of two activations."""

from __future__ import annotations

from dataclasses import dataclass

from roofline.workloads.amounts import ONE, Amount
from roofline.workloads.ops.base import Operands, Product, stored
from roofline.workloads.ops.defaults import BaseOp
from roofline.workloads.ops.kernels import product_class


@dataclass(frozen=True, slots=True)
class MatMul(BaseOp):
    """A product of two activations: ``batch`` times ``[m, k] x [k, n]``."""

    batch: int
    m: int
    n: int
    k: int

    @property
    def product(self) -> Product:
        """The products."""
        rows = ONE * (self.batch * self.m)
        return Product(ONE * self.batch, rows, ONE * self.n, ONE * self.k)

    @property
    def operands(self) -> Operands:
        """The second plays the weights; both are counted as inputs."""
        moving = stored(self.activations, ONE * (self.batch * self.m), self.k)
        stationary = stored(self.activations, ONE * (self.batch * self.n), self.k)
        return Operands(self.activations, self.activations, stationary, moving)

    @property
    def mixes_tokens(self) -> bool:
        """Rows may be tokens, and columns too."""
        return True

    def kernel_class(self, queries: float) -> str:
        """Return the class of products of its operands."""
        return product_class(self.activations, self.activations)

    @property
    def macs(self) -> Amount:
        """``batch * m * n * k``."""
        return ONE * (self.batch * self.m * self.n * self.k)

    @property
    def input_bytes(self) -> Amount:
        """Both operands."""
        rows = ONE * (self.batch * (self.m + self.n))
        return stored(self.activations, rows, self.k)

    @property
    def output_bytes(self) -> Amount:
        """The results."""
        return stored(self.activations, ONE * (self.batch * self.m), self.n)
