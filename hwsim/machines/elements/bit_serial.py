"""The bit-serial element: a weight takes as many cycles as its format has terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from hwsim.machines.elements.base import ProcessingElement, register
from hwsim.pe.activations import activation_format
from hwsim.pe.arithmetic import LIMITS, MAX_GROUP, Arithmetic
from hwsim.pe.terms import term_count
from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind
from quant.formats.scales import SCALES
from quant.formats.spec import FormatSpec


@register
@dataclass(frozen=True)
class BitSerial(ProcessingElement):
    """The element that ``hwsim.pe`` computes bit for bit and ``rtl/`` has as Verilog.

    Attributes:
        exponent_bits: Width of a term's own exponent.
    """

    kind: ClassVar[str] = "bit-serial"
    exponent_bits: int = 2

    @property
    def scales(self) -> tuple[ScaleKind, ...]:
        """Kinds that are an integer times a power of two."""
        return tuple(kind for kind in SCALES.values() if kind.multiplied_bits is not None)

    def steps(self, spec: FormatSpec) -> int:
        """Return the terms of a weight.

        Raises:
            RequestError: a format whose levels have no terms, or none of the exponents' width.
        """
        return term_count(spec, self.exponent_bits)

    def arithmetic(self, activations: FormatSpec) -> Arithmetic:
        """Return the PE's arithmetic at its sizes.

        Raises:
            RequestError: sizes or activations beyond its limits.
        """
        return Arithmetic(
            lanes=self.lanes,
            exponent_bits=self.exponent_bits,
            activation=activations.format.name,
        )

    def faults(self, activations: FormatSpec, group_size: int) -> list[str]:
        """Return what lies beyond the limits of the arithmetic, which are the machine's."""
        name, sizes = activations.format.name, (self.lanes, self.exponent_bits)
        lanes, bits = LIMITS["lanes"], LIMITS["exponent_bits"]
        faults = [
            *super().faults(activations, group_size),
            *_fault("", lambda: arguments.integer("pe.lanes", sizes[0], *lanes)),
            *_fault("", lambda: arguments.integer("pe.exponent_bits", sizes[1], *bits)),
            *_fault("", lambda: arguments.integer("group_size", group_size, 1, MAX_GROUP)),
            *_fault("activations: ", lambda: activation_format(name)),
        ]
        return faults or _fault("pe: ", lambda: self.arithmetic(activations))


def _fault(key: str, check: Callable[[], object]) -> list[str]:
    """The message of a check that fails, after its key."""
    try:
        check()
    except RequestError as error:
        return [f"{key}{error}"]
    return []
