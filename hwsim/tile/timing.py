"""The numbers that a tile's clocks are made of: its pipeline, the bits that it multiplies.

What a change of the Verilog's timing changes is here, and in the closed forms of ``clocks``.
"""

from __future__ import annotations

from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind

DIGITS = (1, 2, 4, 8)
"""Bits of a scale that the dequantizer may multiply a clock."""
REST = 1
"""Clocks that a product stands still after its last digit."""
CORRECTION_BITS = 15
"""Bits of a correction's magnitude."""
HALF_BITS, SINGLE_BITS = 11, 24
"""Bits of the significands of FP16 and FP32."""
PIPELINE = 5
"""Clocks from the issue of a group's last step to its drain's first digit."""
FLUSH = 3
"""Clocks between a job's last product and its first factor."""
OUTPUT = 2
"""Clocks from a whole factor's product to its beat."""


def product_clocks(bits: int, digit_bits: int) -> int:
    """Return the clocks that a product by a number of so many bits takes, some bits a clock."""
    return -(-bits // digit_bits) + REST


def scale_bits(kind: ScaleKind) -> int:
    """Return the bits of a group's scale that are multiplied, most significant first.

    Raises:
        RequestError: a kind that the dequantizer does not take.
    """
    if kind.multiplied_bits is None:
        raise RequestError(f"scale {kind.name!r}: the dequantizer does not multiply by it")
    return kind.multiplied_bits


def factor_bits(kind: ScaleKind) -> int:
    """Return the bits of a row's factor that are multiplied, most significant first.

    The factor is an FP16 scale of the row, an FP32 scale of the tensor, or a power of two.
    """
    if kind.row_bits:
        return HALF_BITS
    return SINGLE_BITS if kind.takes_tensor_scale else 1


def group_drain(rows: int, digit_bits: int, kind: ScaleKind, corrects: bool) -> int:
    """Return the clocks in which a group's results leave a tile.

    Args:
        rows: Of the tile.
        digit_bits: Bits of a scale that the dequantizer of a column multiplies a clock.
        kind: Of the groups' scales.
        corrects: Whether the format is asymmetric.

    Raises:
        RequestError: a kind that the dequantizer does not take.
    """
    a_row = product_clocks(scale_bits(kind), digit_bits)
    a_row += product_clocks(CORRECTION_BITS, digit_bits) if corrects else 0
    return rows * a_row


def job_end(rows: int, digit_bits: int, kind: ScaleKind) -> int:
    """Return the clocks that the factors of a job's rows add to the drain of its last group."""
    return FLUSH + rows * product_clocks(factor_bits(kind), digit_bits)
