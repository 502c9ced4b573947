"""The clock-by-clock model of a tile as one compiled loop: ``clock_by_clock``'s fast twin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.tile.clocks import issue_clocks
from hwsim.tile.packets import Packet
from hwsim.tile.tile import Tile
from hwsim.tile.timing import CORRECTION_BITS, FLUSH, factor_bits, scale_bits
from quant.common.jit import jit
from tests.rtl import tile_script as at

BANKS = 2
IDLE, PRODUCT, CORRECTION, FLUSHING, FACTOR = range(5)


def compiled_walk(
    packets: Sequence[Packet], tile: Tile, wishes: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    """Return what ``tile_script.clock_by_clock`` returns."""
    facts = np.array([_facts(packet, tile) for packet in packets], np.int64)
    control = np.zeros(len(wishes), np.uint16)
    return control[: _walk(facts, tile.rows, wishes, control)]


def _facts(packet: Packet, tile: Tile) -> list[int]:
    """Beats of both streams, issue slots, final, and the clocks of the drain's states."""
    correction = tile.product_clocks(CORRECTION_BITS) if packet.corrects else 0
    return [
        len(packet.weights),
        len(packet.words),
        issue_clocks(packet, tile),
        int(packet.final),
        tile.product_clocks(scale_bits(packet.scale_kind)),
        correction,
        tile.product_clocks(factor_bits(packet.scale_kind)),
    ]


BUSY, LOADED, STATE, ROW, CLOCK, GROUP, LEAVING, LEAVING_LAST, VALID, LAST = range(10)
"""Registers of the drain; ``GROUP`` is the one that is drained."""


@jit
def _walk(facts: Any, rows: int, wishes: Any, control: Any) -> int:  # noqa: ANN401  arrays
    """Write control words; return how many. ``BUSY`` and so on index the drain's registers."""
    left = np.array([facts[:, 0].sum(), facts[:, 1].sum()])
    results = rows * facts[:, 3].sum()
    packet, beats, whole = np.zeros(2, np.int64), np.zeros(2, np.int64), np.zeros(2, np.int64)
    shown, drain = np.zeros(2, np.bool_), np.zeros(10, np.int64)
    group = slot = 0
    edge = summed = load = False  # a group's last step on its way
    for clock in range(len(wishes)):
        takes = wishes[clock, 2]
        control[clock] = _word(wishes[clock], left, whole, shown, drain)
        if results == 0:
            return clock + 1
        results -= drain[VALID] and takes
        ends = group < len(facts) and slot == facts[group, 2] - 1
        issue = whole[0] > 0 and whole[1] > 0 and not (ends and drain[BUSY])
        pop = issue and ends
        loads, load, summed, edge = load, summed, edge, pop
        for i in range(2):
            if shown[i] and whole[i] < BANKS:
                shown[i] = False
                left[i] -= 1
                beats[i] += 1
                if beats[i] == facts[packet[i], i]:
                    packet[i], beats[i] = packet[i] + 1, 0
                    whole[i] += 1
            whole[i] -= pop
        _drain(facts, rows, drain, takes)
        if loads:
            drain[LOADED] = 1
        if pop:
            drain[GROUP], drain[BUSY] = group, 1
        slot = 0 if pop else slot + issue
        group += pop
    return len(wishes)


@jit
def _word(wants: Any, left: Any, whole: Any, shown: Any, drain: Any) -> int:  # noqa: ANN401  arrays
    """The control word of a clock; what is shown is chosen here."""
    word = at.CHECK | at.RST_N
    for i in range(2):
        shown[i] = left[i] > 0 and (shown[i] or wants[i])
        if shown[i]:
            word |= at.WEIGHT_VALID << i
        if whole[i] < BANKS:
            word |= at.WEIGHT_READY << i
        if shown[i] and whole[i] < BANKS:
            word |= at.WEIGHT_NEXT << i
    if wants[2]:
        word |= at.TAKES
    if drain[VALID]:
        word |= at.RESULT_VALID
    if drain[VALID] and drain[LAST]:
        word |= at.RESULT_LAST
    if drain[VALID] and wants[2]:
        word |= at.RESULT_NEXT
    return word


@jit
def _drain(facts: Any, rows: int, drain: Any, takes: bool) -> None:  # noqa: ANN401  arrays
    """One edge of the drain sequencer."""
    stalled = drain[LEAVING] and drain[VALID] and not takes
    if drain[LEAVING] and not stalled:
        drain[VALID], drain[LAST] = 1, drain[LEAVING_LAST]
    elif takes:
        drain[VALID] = 0
    if stalled:
        return
    drain[LEAVING] = drain[LEAVING_LAST] = 0
    if drain[STATE] == IDLE:
        if drain[LOADED]:
            drain[LOADED], drain[STATE], drain[CLOCK] = 0, PRODUCT, 0
        return
    own, state = facts[drain[GROUP]], drain[STATE]
    drain[CLOCK] += 1
    if drain[CLOCK] < (FLUSH if state == FLUSHING else own[3 + min(state, 3)]):
        return
    drain[CLOCK] = 0
    sweeps = drain[ROW] == rows - 1
    if state == FLUSHING:
        drain[STATE] = FACTOR
        return
    if state == PRODUCT and own[5] > 0:
        drain[STATE] = CORRECTION
        return
    drain[ROW] = 0 if sweeps else drain[ROW] + 1
    if state == FACTOR:
        drain[LEAVING], drain[LEAVING_LAST] = 1, sweeps
        drain[STATE] = IDLE if sweeps else FACTOR
    else:
        ended = FLUSHING if own[3] else IDLE
        drain[STATE] = ended if sweeps else PRODUCT
    drain[BUSY] = drain[STATE] != IDLE
