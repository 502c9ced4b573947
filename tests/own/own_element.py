"""A kind of processing element: products looked up in tables of two bits of the weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwsim.machines.elements import ProcessingElement, register
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec


@register
@dataclass(frozen=True)
class LookupTable(ProcessingElement):
    """A weight takes a cycle for every ``bits_a_cycle`` bits of its code.

    Attributes:
        bits_a_cycle: Bits of a code that a table is asked for at a time.
    """

    kind: ClassVar[str] = "lookup-table"
    bits_a_cycle: int = 2

    @property
    def scales(self) -> tuple[ScaleKind, ...] | None:
        """None: the tables hold scaled products, so that any kind will do."""
        return None

    def steps(self, spec: FormatSpec) -> int:
        """Return the parts of a code."""
        return -(-spec.element_bits // self.bits_a_cycle)

    def faults(self, activations: FormatSpec, group_size: int) -> list[str]:
        """Return what the tables do not allow."""
        faults = super().faults(activations, group_size)
        if self.bits_a_cycle < 1:
            faults.append(f"pe.bits_a_cycle = {self.bits_a_cycle}: at least 1 is needed")
        return faults
