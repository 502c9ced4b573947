"""The parameters of the PE's arithmetic, and the widths that follow: for all implementations."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from hwsim.pe.activations import ActivationFormat, activation_format
from quant.common import arguments
from quant.common.errors import RequestError

MAX_STEPS = 4
"""Terms of a weight; a step's number takes two bits."""
MAX_SIGNIFICANCE = 6
"""Largest significance of a step, INT8's last Booth digit (BitMoD: a shift of 0..6)."""
MAX_GROUP = 65536
"""Longest group of weights that the exponents of an accumulator are made for."""
WIDEST = 30
"""Magnitude bits that the sum of a step and an accumulator may take (32-bit kernels)."""
LIMITS = {
    "lanes": (1, 64),
    "guard_bits": (0, 16),
    "accumulator_bits": (8, 28),
    "exponent_bits": (2, 5),
}


@dataclass(frozen=True)
class Arithmetic:
    """Widths of a bit-serial PE (docs/pe_arithmetic.md).

    Attributes:
        lanes: Terms that a PE adds per cycle, 1..64.
        guard_bits: Fraction bits kept below the largest product of a step, 0..16.
        accumulator_bits: Magnitude bits of the group accumulator, 8..28; 22 keeps the floor bias
            of a 128-group near 0.03 % of mean |y|, 14 is the published variant.
        exponent_bits: Width of a term's own exponent, 2..5. Two serve integers and floats of at
            most 4 bits; FP8 needs five.
        activation: Format of activations (``hwsim.pe.activations``).

    Raises:
        RequestError: a width out of its range, or widths whose sums overflow 32 bits together.
    """

    lanes: int = 4
    guard_bits: int = 3
    accumulator_bits: int = 22
    exponent_bits: int = 2
    activation: str = "fp16"

    def __post_init__(self) -> None:
        for name, (low, high) in LIMITS.items():
            number = arguments.integer(name, getattr(self, name), low, high)
            object.__setattr__(self, name, number)
        activation_format(self.activation)
        if self.wide_bits > WIDEST:
            raise RequestError(
                f"lanes = {self.lanes}, guard_bits = {self.guard_bits}, accumulator_bits = "
                f"{self.accumulator_bits} with {self.activation} activations overflow: their sum "
                f"takes {self.wide_bits} bits, {WIDEST} is allowed"
            )

    @property
    def activations(self) -> ActivationFormat:
        """The format of activations."""
        return activation_format(self.activation)

    @property
    def point(self) -> int:
        """Weight of an accumulator's exponent: the value is ``mantissa * 2^(exponent - point)``."""
        return self.activations.point + self.guard_bits

    @property
    def largest_exponent(self) -> int:
        """The largest exponent of a product."""
        return self.activations.largest_exponent + (1 << self.exponent_bits) - 1

    @property
    def step_bits(self) -> int:
        """Magnitude bits of a step's sum, before its significance."""
        return self.activations.mantissa_bits + self.guard_bits + (self.lanes - 1).bit_length()

    @property
    def wide_bits(self) -> int:
        """Magnitude bits of an accumulator plus a step's sum at the largest significance."""
        return max(self.accumulator_bits, self.step_bits + MAX_SIGNIFICANCE) + 1

    @property
    def largest_sum(self) -> int:
        """Magnitude of the largest sum of a step, its significance applied."""
        element = self.activations.element
        mantissa = 128 if element is None else (1 << self.activations.mantissa_bits) - 1
        return self.lanes * (mantissa << self.guard_bits) << MAX_SIGNIFICANCE

    @property
    def accumulator_exponent_bits(self) -> int:
        """Width of an accumulator's exponent: sums of ``MAX_GROUP`` weights fit without floors.

        After a normalization to the right the mantissa has all its bits, so an exponent above
        the largest product's is at most ``log2(sum) - accumulator_bits + 1``. Floors of negative
        steps add to the sum: ``max_steps`` says how many of them fit as well.
        """
        blocks = (-(-MAX_GROUP // self.lanes)).bit_length()
        grown = self.step_bits + MAX_SIGNIFICANCE + blocks + 3 - self.accumulator_bits
        return (self.largest_exponent + max(grown, 1)).bit_length()

    @property
    def max_steps(self) -> int:
        """Steps after which no accumulator's exponent can be too wide, whatever was added.

        Found by running the worst case, the largest negative step again and again
        (docs/pe_error_bound.md, 5).
        """
        return _steps_within(self)


def check_group(rule: Arithmetic, size: int, steps: int, what: str) -> None:
    """Raise RequestError where a group's steps could overflow an accumulator's exponent.

    Args:
        rule: Widths.
        size: Weights of the group.
        steps: Of each block of them.
        what: Whose steps, for the message: a format, a tile.
    """
    taken = -(-size // rule.lanes) * steps
    if taken > rule.max_steps:
        raise RequestError(
            f"groups of {size} weights in {what} take {taken} steps: an accumulator of "
            f"{rule.accumulator_bits} bits with {rule.lanes} lanes and {rule.activation} "
            f"activations holds {rule.max_steps} (take more accumulator_bits or shorter groups)"
        )


@cache
def _steps_within(rule: Arithmetic) -> int:
    """Return how many largest negative steps leave the exponent within its width."""
    limit, top = (1 << rule.accumulator_exponent_bits) - 1, 1 << rule.accumulator_bits
    first = exponent = rule.largest_exponent
    magnitude = count = 0
    while True:
        # Each step adds the same at this exponent, floored away from zero, until it normalizes.
        added = -(-rule.largest_sum >> (exponent - first))
        steps = -(-(top - magnitude) // added)
        wide = magnitude + steps * added
        places = wide.bit_length() - rule.accumulator_bits
        exponent, magnitude = exponent + places, -(-wide >> places)
        count += steps
        if exponent > limit:
            return count - 1


PUBLISHED = Arithmetic(accumulator_bits=14)
"""The width of the published RTL (BitMoD ``grp_accum``: 15-bit two's complement)."""
