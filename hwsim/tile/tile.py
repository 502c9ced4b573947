"""The tile of the Verilog: its parameters, and which weights it takes."""

from __future__ import annotations

from dataclasses import dataclass, field

from hwsim.pe.arithmetic import MAX_GROUP, MAX_STEPS, Arithmetic, check_group
from hwsim.pe.operands import Weights
from hwsim.tile.side_band import format_id, scale_id
from hwsim.tile.timing import DIGITS, product_clocks
from quant.common import arguments
from quant.common.errors import RequestError

MAX_LANES = 16
"""All pairs of lanes are compared at once."""

MAX_SIDE = 64
"""Rows or columns of a tile."""


@dataclass(frozen=True)
class Tile:
    """An array of PEs with its buffers.

    Attributes:
        rows: Output channels, 1..64.
        columns: Tokens, 1..64.
        max_group: Weights of the longest group that the buffers hold.
        digit_bits: Bits of a scale that the dequantizer multiplies a clock: 1, 2, 4 or 8.
        skip_zero_steps: Pass over steps in which no PE has a product; a block takes one clock at
            least.
        arithmetic: Widths of the PEs.

    Raises:
        RequestError: a number out of its range.
    """

    rows: int = 8
    columns: int = 8
    max_group: int = 128
    digit_bits: int = 2
    skip_zero_steps: bool = False
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def __post_init__(self) -> None:
        if not isinstance(self.arithmetic, Arithmetic):
            raise RequestError(f"arithmetic = {self.arithmetic!r}: an Arithmetic is needed")
        for name, high in (("rows", MAX_SIDE), ("columns", MAX_SIDE), ("max_group", MAX_GROUP)):
            object.__setattr__(self, name, arguments.integer(name, getattr(self, name), 1, high))
        arguments.integer("lanes of a tile", self.arithmetic.lanes, 1, MAX_LANES)
        if arguments.integer("digit_bits", self.digit_bits, 1, 8) not in DIGITS:
            raise RequestError(f"digit_bits = {self.digit_bits}: 1, 2, 4 or 8 is allowed")
        if self.max_blocks * self.arithmetic.lanes > MAX_GROUP:
            raise RequestError(
                f"max_group = {self.max_group} with {self.arithmetic.lanes} lanes: whole blocks up "
                f"to {MAX_GROUP} weights are allowed"
            )

        blocks = self.max_blocks * self.arithmetic.lanes
        check_group(self.arithmetic, blocks, MAX_STEPS, f"a tile with max_group = {self.max_group}")

    @property
    def max_blocks(self) -> int:
        """Blocks that a buffer holds."""
        return -(-self.max_group // self.arithmetic.lanes)

    @property
    def word_bits(self) -> int:
        """Width of a row's word in the weight stream."""
        return max(32, 8 * self.arithmetic.lanes)

    def product_clocks(self, bits: int) -> int:
        """Return the clocks that a product by a number of so many bits takes."""
        return product_clocks(bits, self.digit_bits)

    def check(self, weight: Weights) -> None:
        """Raise RequestError where a tile cannot take a weight.

        Its buffers do not hold a group, its terms are too wide, or its format or kind of scales has
        no number in the packets.
        """
        if not isinstance(weight, Weights):
            kind = type(weight).__name__
            raise RequestError(
                f"a weight of type {kind}: pass hwsim.pe.operands.weights(qt, rule)[0]"
            )
        format_id(weight.table.format)
        scale_id(weight.scale_kind)
        if weight.table.exponent_bits > self.arithmetic.exponent_bits:
            raise RequestError(
                f"format {weight.table.format!r}: its terms have exponents of "
                f"{weight.table.exponent_bits} bits, this tile's {self.arithmetic.exponent_bits}"
            )
        if weight.size > self.max_group:
            raise RequestError(
                f"groups of {weight.size} weights: this tile's buffers hold {self.max_group}"
            )
