"""The tile clock by clock: every handshake of ``rtl/array/tile.sv``, for lock-step simulation.

Plain Python state, one attribute a register. Values are not computed here: results are those of
``hwsim.pe.matmul``; the model says in which clock each beat is taken and given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hwsim.tile.packets import Packet
from hwsim.tile.tile import Tile
from hwsim.tile.timing import CORRECTION_BITS, FLUSH, factor_bits, scale_bits

BANKS = 2


class Handshakes(NamedTuple):
    """What the tile shows in a clock."""

    weight_ready: bool
    act_ready: bool
    result_valid: bool
    result_last: bool


class _Stream:
    """A ping-pong buffer's counters: packets that are whole, and beats of the one that fills."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = list(lengths)
        self._packet = 0
        self._beats = 0
        self.whole = 0

    @property
    def ready(self) -> bool:
        return self.whole < BANKS

    def clock(self, push: bool, pop: bool) -> None:
        if push:
            self._beats += 1
            if self._beats == self._lengths[self._packet]:
                self._packet, self._beats = self._packet + 1, 0
                self.whole += 1
        self.whole -= pop


class _Issue:
    """The step sequencer: blocks and steps of the group that is issued."""

    def __init__(self, packets: Sequence[Packet], tile: Tile) -> None:
        self._packets, self._tile = packets, tile
        self.group = 0
        self._slot = 0
        self._slots = self._count()

    def _count(self) -> int:
        if self.group >= len(self._packets):
            return 0
        packet = self._packets[self.group]
        if not self._tile.skip_zero_steps:
            return len(packet.words) * packet.steps
        return sum(max(1, int(block.sum())) for block in packet.needed)

    @property
    def last(self) -> bool:
        return self._slot == self._slots - 1

    def clock(self, issue: bool) -> None:
        if issue and self.last:
            self.group, self._slot = self.group + 1, 0
            self._slots = self._count()
        elif issue:
            self._slot += 1


class _Drain:
    """The drain sequencer."""

    def __init__(self, tile: Tile) -> None:
        self._tile = tile
        self._group: Packet | None = None
        self._clocks: dict[str, int] = {}
        self.busy = False
        self._loaded = False
        self._state = "idle"
        self._row = 0
        self._clock = 0
        self._leaving = False
        self._leaving_last = False
        self.valid = False
        self.last = False

    def clock(self, taken: Packet | None, load: bool, ready: bool) -> None:
        """One edge. A group that is taken reserves the drain, ``load`` fills the chains."""
        stalled = self._leaving and self.valid and not ready
        if not stalled and self._leaving:
            self.valid, self.last = True, self._leaving_last
        elif ready:
            self.valid = False
        if not stalled:
            self._advance()
        if load:
            self._loaded = True
        if taken:
            self._take(taken)

    def _take(self, group: Packet) -> None:
        bits = {
            "product": scale_bits(group.scale_kind),
            "correction": CORRECTION_BITS,
            "factor": factor_bits(group.scale_kind),
        }
        self._clocks = {state: self._tile.product_clocks(count) for state, count in bits.items()}
        self._clocks["flush"] = FLUSH
        self._group, self.busy = group, True

    def _advance(self) -> None:
        self._leaving = self._leaving_last = False
        if self._state == "idle":
            if self._loaded:
                self._loaded = False
                self._enter("product")
        else:
            self._clock += 1
            if self._clock == self._clocks[self._state]:
                self._end_of_state()

    def _end_of_state(self) -> None:
        if self._state == "flush":
            self._enter("factor")
            return
        assert self._group is not None
        if self._state == "product" and self._group.corrects:
            self._enter("correction")
            return
        ends = self._row == self._tile.rows - 1
        self._row = 0 if ends else self._row + 1
        if self._state == "factor":
            self._leaving, self._leaving_last = True, ends
            self._enter("idle" if ends else "factor")
        elif not ends:
            self._enter("product")
        else:
            self._enter("flush" if self._group.final else "idle")
        if self._state == "idle":
            self.busy = False

    def _enter(self, state: str) -> None:
        self._state, self._clock = state, 0


class TileModel:
    """The registers of a tile that runs a list of packets.

    Args:
        packets: Of all jobs, in order; they may be of several layers.
        tile: The array.
    """

    def __init__(self, packets: Sequence[Packet], tile: Tile) -> None:
        self._packets = packets
        self._weights = _Stream([len(packet.weights) for packet in packets])
        self._acts = _Stream([len(packet.words) for packet in packets])
        self._issue = _Issue(packets, tile)
        self._drain = _Drain(tile)
        self._pipeline = [False, False, False]  # a group's last step: edge, sum, load

    def handshakes(self) -> Handshakes:
        """Return what the tile shows in this clock."""
        drain = self._drain
        return Handshakes(self._weights.ready, self._acts.ready, drain.valid, drain.last)

    def clock(self, weight_valid: bool, act_valid: bool, result_ready: bool) -> None:
        """Go to the next clock, with what the outside shows in this one."""
        there = self._weights.whole > 0 and self._acts.whole > 0
        issue = there and not (self._issue.last and self._drain.busy)
        pop = issue and self._issue.last
        taken = self._packets[self._issue.group] if pop else None
        load = self._pipeline.pop()
        self._pipeline.insert(0, pop)
        self._weights.clock(weight_valid and self._weights.ready, pop)
        self._acts.clock(act_valid and self._acts.ready, pop)
        self._issue.clock(issue)
        self._drain.clock(taken, load, result_ready)
