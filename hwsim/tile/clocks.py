"""The clocks of a tile in closed form, equal to the Verilog's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwsim.tile.packets import Packet
from hwsim.tile.tile import Tile
from hwsim.tile.timing import OUTPUT, PIPELINE, group_drain, job_end


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
    kind = packet.scale_kind
    drain = group_drain(tile.rows, tile.digit_bits, kind, packet.corrects)
    return drain + (job_end(tile.rows, tile.digit_bits, kind) if packet.final else 0)


def issue_clocks(packet: Packet, tile: Tile) -> int:
    """Return the issue slots that a group takes."""
    if not tile.skip_zero_steps:
        return len(packet.words) * packet.steps
    return int(np.maximum(packet.needed.sum(axis=1), 1).sum())
