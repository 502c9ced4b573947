"""The clocks of a tile in closed form, equal to the Verilog's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.tile.packets import Packet
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind

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


def clocks(packets: Sequence[Packet], tile: Tile) -> int:
    """Return the clocks from the first beats to the last result, without stalls from outside.

    Args:
        packets: Of all jobs, in order; they may be of several layers.
        tile: The array.
    """
    ends, pops, drained, finish = [-1, -1], [-1, -1], 0, 0
    for packet in packets:
        # A stream's beat goes in each clock; a bank is free in the clock after its last step.
        for stream, beats in enumerate((len(packet.weights), len(packet.words))):
            ends[stream] = max(ends[stream], pops[-2]) + beats
        start = max(*ends, pops[-1]) + 1
        pop = max(start + issue_clocks(packet, tile) - 1, drained)
        pops = [pops[-1], pop]
        drained = pop + PIPELINE + drain_clocks(packet, tile)
        if packet.final:
            finish = drained - 1 + OUTPUT + 1
    return finish


def drain_clocks(packet: Packet, tile: Tile) -> int:
    """Return the clocks in which a group's results leave the array, stalls not counted."""
    a_row = tile.product_clocks(scale_bits(packet.scale_kind))
    if packet.corrects:
        a_row += tile.product_clocks(CORRECTION_BITS)
    if not packet.final:
        return tile.rows * a_row
    a_factor = tile.product_clocks(factor_bits(packet.scale_kind))
    return tile.rows * (a_row + a_factor) + FLUSH


def issue_clocks(packet: Packet, tile: Tile) -> int:
    """Return the issue slots that a group takes."""
    if not tile.skip_zero_steps:
        return len(packet.words) * packet.steps
    return int(np.maximum(packet.needed.sum(axis=1), 1).sum())
