"""OpWork: an op in one forward pass, its amounts as numbers."""

from __future__ import annotations

from dataclasses import dataclass

from quant.formats.spec import FormatSpec
from roofline.workloads.amounts import Step
from roofline.workloads.ops import Gemm, Op, Operands
from roofline.workloads.quantities import Quantity


@dataclass(frozen=True, slots=True)
class OpWork:
    """An op in one forward pass: the numbers of its definition at a step, by ``Quantity``.

    Attributes:
        definition: What it is (``roofline.workloads.ops``).
        step: Of which pass.
        macs: Multiply-accumulates.
        ops: Operations: two a MAC, or element operations.
        special_ops: Those that are special functions.
        weight_bytes: Weights read, with scales, selectors and zero points.
        input_bytes: Activations read.
        output_bytes: Activations written.
        kv_bytes: KV-cache bytes read or written.
        link_bytes: Bytes sent to other devices.
    """

    definition: Op
    step: Step
    macs: float
    ops: float
    special_ops: float
    weight_bytes: float
    input_bytes: float
    output_bytes: float
    kv_bytes: float
    link_bytes: float

    @classmethod
    def of(cls, definition: Op, step: Step) -> OpWork:
        """Return an op at a step."""
        return cls(definition, step, *(quantity.of(definition).at(step) for quantity in Quantity))

    @property
    def name(self) -> str:
        """Torch module path."""
        return self.definition.name

    @property
    def op(self) -> str:
        """The kind of op."""
        return self.definition.kind

    @property
    def count(self) -> int:
        """How many of them: always 1, ops are per layer."""
        return 1

    @property
    def gemm(self) -> Gemm | None:
        """The matrix product it is; None for element-wise ops."""
        product = self.definition.product
        return None if product is None else product.at(self.step)

    @property
    def operands(self) -> Operands | None:
        """What its product multiplies; None exactly where ``gemm`` is."""
        return self.definition.operands

    @property
    def stationary_bytes(self) -> float:
        """Bytes of the operand that plays the weights; 0 where there is no product."""
        operands = self.definition.operands
        return 0.0 if operands is None else operands.stationary_bytes.at(self.step)

    @property
    def moving_bytes(self) -> float:
        """Bytes of the operand that moves past it; 0 where there is no product."""
        operands = self.definition.operands
        return 0.0 if operands is None else operands.moving_bytes.at(self.step)

    def unfused(self) -> tuple[OpWork, ...]:
        """Return what a machine without fused attention runs in its place."""
        parts = self.definition.unfused()
        if parts == (self.definition,):
            return (self,)
        return tuple(OpWork.of(part, self.step) for part in parts)

    @property
    def activation_bytes(self) -> float:
        """Activations read and written."""
        return self.input_bytes + self.output_bytes

    @property
    def bytes(self) -> float:
        """All bytes that cross the memory interface."""
        return self.weight_bytes + self.input_bytes + self.output_bytes + self.kv_bytes

    @property
    def weights(self) -> FormatSpec | None:
        """Format of its weights; None where it has none."""
        return self.definition.weights
