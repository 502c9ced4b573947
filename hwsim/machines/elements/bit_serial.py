"""The bit-serial element: a weight takes as many cycles as its format has terms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from hwsim.machines.elements.base import ProcessingElement, register
from hwsim.machines.elements.skipping import Skipping
from hwsim.machines.elements.timing import Law, Timing
from hwsim.pe.activations import activation_format
from hwsim.pe.arithmetic import LIMITS, MAX_GROUP, Arithmetic
from hwsim.pe.terms import term_count, term_table
from hwsim.tile.tile import MAX_LANES, MAX_SIDE
from hwsim.tile.timing import DIGITS, group_drain, job_end
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
        digit_bits: Bits of a scale that the dequantizer of a column multiplies a clock.
        max_group: Weights of the longest group that an array's operand buffers hold.
        skip_zero_steps: Whether a tile passes over steps in which no weight of its rows has a term;
            what that costs in area is not known.
    """

    kind: ClassVar[str] = "bit-serial"
    exponent_bits: int = 2
    digit_bits: int = 2
    max_group: int = 128
    skip_zero_steps: bool = False

    @property
    def scales(self) -> tuple[ScaleKind, ...]:
        """Kinds that are an integer times a power of two."""
        return tuple(kind for kind in SCALES.values() if kind.multiplied_bits is not None)

    def steps(self, spec: FormatSpec) -> int:
        """Return the terms of a weight.

        Raises:
            RequestError: a format whose levels have no terms, or none of the exponents' width;
                groups that the operand buffers do not hold.
        """
        terms = term_count(spec, self.exponent_bits)
        if spec.group_size > self.max_group:
            raise RequestError(
                f"{spec}: groups of at most {self.max_group} weights are allowed (pe.max_group)"
            )
        return terms

    def timing(self, spec: FormatSpec, rows: int) -> Timing:
        """Return the clocks of the Verilog's tile: terms, and how results leave it.

        Raises:
            RequestError: as ``steps``, or scales that the dequantizer does not take.
        """
        steps = self.steps(spec)
        corrects = term_table(spec.format.name, self.exponent_bits).offset != 0
        drain = group_drain(rows, self.digit_bits, spec.scale, corrects)
        return Timing(Law.TILE, steps, drain, job_end(rows, self.digit_bits, spec.scale))

    def skipping(self, spec: FormatSpec) -> Skipping | None:
        """Return the terms that each code has, where the tile passes over zero steps."""
        if not self.skip_zero_steps:
            return None
        table = term_table(spec.format.name, self.exponent_bits)
        places = np.arange(table.steps, dtype=np.uint64)
        needs = (table.man.astype(np.uint64) << places).sum(axis=2, dtype=np.uint64)
        if spec.format.is_asymmetric:
            needs |= np.uint64(1)  # the first step sums the activations that zero points multiply
        return Skipping(needs)

    @property
    def most_side(self) -> int:
        """Return the most that the Verilog's tile has."""
        return MAX_SIDE

    def relative_size(self, lanes: int) -> float:
        """Return um2 of ``pe-22`` by lanes, in our synthesis: 25,620, 47,957, 120,180.

        Of 4, 8 and 16 lanes (SG13G2, ABC's delay target of 10 ns), through which this parabola
        goes: all pairs of lanes are compared, so that it grows with their square.
        """
        return 12466 + 2140.6 * lanes + 286.97 * lanes**2

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
        lanes, bits, longest = (1, MAX_LANES), LIMITS["exponent_bits"], self.max_group
        faults = [
            *super().faults(activations, group_size),
            *_fault("", lambda: arguments.integer("pe.lanes", sizes[0], *lanes)),
            *_fault("", lambda: arguments.integer("pe.exponent_bits", sizes[1], *bits)),
            *_fault("", lambda: arguments.integer("pe.max_group", longest, 1, MAX_GROUP)),
            *_fault("", lambda: arguments.integer("group_size", group_size, 1, MAX_GROUP)),
            *_fault("activations: ", lambda: activation_format(name)),
        ]
        if self.digit_bits not in DIGITS:
            faults.append(f"pe.digit_bits = {self.digit_bits}: 1, 2, 4 or 8 is allowed")
        return faults or _fault("pe: ", lambda: self.arithmetic(activations))


def _fault(key: str, check: Callable[[], object]) -> list[str]:
    """The message of a check that fails, after its key."""
    try:
        check()
    except RequestError as error:
        return [f"{key}{error}"]
    return []
