"""The clocks of a tile in closed form, equal to the Verilog's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.tile.packets import Packet
from hwsim.tile.tile import Tile

CORRECTION_BITS = 15
SCALE_BITS = {"int8": 8, "e8m0": 1, "e4m3": 4}
FACTOR_BITS = {"int8": 11, "e8m0": 1, "e4m3": 24}
"""Bits of a group's scale and of a row's factor that are multiplied, most significant first."""
PIPELINE = 5
"""Clocks from the issue of a group's last step to its drain's first digit."""
FLUSH = 3
"""Clocks between a job's last product and its first factor."""
OUTPUT = 2
"""Clocks from a whole factor's product to its beat."""


def clocks(packets: Sequence[Packet], kind: str, corrects: bool, tile: Tile) -> int:
    """Return the clocks from the first beats to the last result, without stalls from outside.

    Args:
        packets: Of all jobs, in order.
        kind: Kind of group scales.
        corrects: Whether the format is asymmetric.
        tile: The array.
    """
    a_row = tile.product_clocks(SCALE_BITS[kind])
    a_row += tile.product_clocks(CORRECTION_BITS) if corrects else 0
    factors = tile.rows * tile.product_clocks(FACTOR_BITS[kind])
    ends, pops, drained, finish = [-1, -1], [-1, -1], 0, 0
    for packet in packets:
        # A stream's beat goes in each clock; a bank is free in the clock after its last step.
        for stream, beats in enumerate((len(packet.weights), len(packet.words))):
            ends[stream] = max(ends[stream], pops[-2]) + beats
        start = max(*ends, pops[-1]) + 1
        pop = max(start + issue_clocks(packet, tile) - 1, drained)
        pops = [pops[-1], pop]
        drained = pop + PIPELINE + tile.rows * a_row
        if packet.final:
            drained += FLUSH + factors
            finish = drained - 1 + OUTPUT + 1
    return finish


def issue_clocks(packet: Packet, tile: Tile) -> int:
    """Return the issue slots that a group takes."""
    if not tile.skip_zero_steps:
        return len(packet.words) * packet.steps
    return int(np.maximum(packet.needed.sum(axis=1), 1).sum())
