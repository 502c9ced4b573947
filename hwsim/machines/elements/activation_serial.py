"""The element that takes one bit of each of its activations a clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwsim.machines.elements.base import ProcessingElement, register
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec


@register
@dataclass(frozen=True)
class ActivationSerial(ProcessingElement):
    """A dot product of weights and activations with a shared exponent, bit plane by bit plane.

    Anda (HPCA 2025, arXiv 2411.15982): a group takes a clock a bit of the mantissas and one more,
    which its published efficiencies follow (69.45 / (bits + 1) for mantissas of 4 to 13 bits).

    Attributes:
        weight_width: Bits of a weight that a lane multiplies at once; wider ones go in parts.
        mantissa_bits: Bits of an activation's mantissa, sign apart; the format of activations says
            what is stored.
    """

    kind: ClassVar[str] = "activation-serial"
    weight_width: int = 4
    mantissa_bits: int = 8

    @property
    def scales(self) -> tuple[ScaleKind, ...] | None:
        """None: sums of a group are scaled after it."""
        return None

    def steps(self, spec: FormatSpec) -> int:
        """Return the clocks of a block: those of its activations, for each part of the weights."""
        return (self.mantissa_bits + 1) * -(-spec.format.element_bits // self.weight_width)

    def faults(self, activations: FormatSpec, group_size: int) -> list[str]:
        """Return the numbers that are out of range."""
        faults = super().faults(activations, group_size)
        if not 1 <= self.mantissa_bits <= 24:
            faults.append(f"pe.mantissa_bits = {self.mantissa_bits}: 1 to 24 is allowed")
        if not 1 <= self.weight_width <= 32:
            faults.append(f"pe.weight_width = {self.weight_width}: 1 to 32 is allowed")
        return faults
