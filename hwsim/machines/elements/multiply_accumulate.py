"""The multiply-accumulate element: a product of two numbers a lane and cycle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from hwsim.machines.elements.base import ProcessingElement, register
from hwsim.machines.elements.timing import Law, Timing
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec


@register
@dataclass(frozen=True)
class MultiplyAccumulate(ProcessingElement):
    """A multiplier and an adder; what the machine's file lists reaches it as numbers."""

    kind: ClassVar[str] = "multiply-accumulate"

    @property
    def scales(self) -> tuple[ScaleKind, ...] | None:
        """None: weights reach it dequantized."""
        return None

    def timing(self, spec: FormatSpec, rows: int) -> Timing:
        """Return the output stationary systolic array's: exact for SCALE-Sim 2 and 3."""
        return Timing(Law.SYSTOLIC, 1)
