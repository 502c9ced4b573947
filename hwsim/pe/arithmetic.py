"""The parameters of the PE's arithmetic, shared by specification, kernels and RTL."""

from __future__ import annotations

from dataclasses import dataclass

from quant.common.errors import RequestError

FP16_FRACTION = 10
FP16_BIAS = 15


@dataclass(frozen=True)
class Arithmetic:
    """Widths of a bit-serial PE (docs/pe_arithmetic.md).

    Attributes:
        lanes: Terms that a PE adds per cycle.
        guard_bits: Fraction bits kept below the largest product of a step, 0..6.
        accumulator_bits: Magnitude bits of the group accumulator, 8..26; 22 keeps the floor bias
            of a 128-group near 0.03 % of mean |y|, 14 is the published variant.
    """

    lanes: int = 4
    guard_bits: int = 3
    accumulator_bits: int = 22

    def __post_init__(self) -> None:
        limits = {"lanes": (1, 16), "guard_bits": (0, 6), "accumulator_bits": (8, 26)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise RequestError(f"{name} = {getattr(self, name)}: {low}..{high} is allowed")

    @property
    def point(self) -> int:
        """Weight of an accumulator's exponent: the value is ``mantissa * 2^(exponent - point)``."""
        return FP16_BIAS + FP16_FRACTION + self.guard_bits


PUBLISHED = Arithmetic(accumulator_bits=14)
"""The width of the published RTL (BitMoD ``grp_accum``: 15-bit two's complement)."""
