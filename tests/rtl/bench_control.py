"""Step sequencer and ping-pong buffer, clock by clock, beside models in Python."""

from __future__ import annotations

import random
from collections import deque
from typing import NamedTuple

import cocotb

from tests.rtl.bench import COUNT, Dut, clock, compared, generator, reset, settle, unpacked
from tests.rtl.bench import value as read
from tests.rtl.lanes import packed


class Slot(NamedTuple):
    """A step that is issued."""

    block: int
    step: int
    first: bool
    last: bool


def slots(needed: list[int], steps: int, skips: bool) -> list[Slot]:
    """Return the slots of a group; a block has one at least."""
    pairs = []
    for block, mask in enumerate(needed):
        wanted = [step for step in range(steps) if not skips or mask >> step & 1]
        pairs += [(block, step) for step in wanted or [0]]
    ends = len(pairs) - 1
    return [Slot(*pair, index == 0, index == ends) for index, pair in enumerate(pairs)]


@cocotb.test()
async def step_sequencer(dut: Dut) -> None:
    """All steps, and those that are needed, while operands and drain stall."""
    rng, done = generator("step_sequencer"), 0
    await reset(dut)
    while done < COUNT:
        done += await group(dut, rng)
    compared("step_sequencer", done)


async def group(dut: Dut, rng: random.Random) -> int:
    """Run a group through both sequencers; return the clocks."""
    steps = rng.randint(1, 4)
    needed = [
        rng.choice([0, rng.getrandbits(4), 15])
        for _ in range(rng.choice([1, 2, 5, 32, rng.randint(1, 32)]))
    ]
    left = [deque(slots(needed, steps, skips)) for skips in (False, True)]
    there, busy = rng.choice([1.0, 0.5, 0.1]), rng.choice([0.0, 0.5, 0.9])
    dut.ss_blocks_i.value, dut.ss_steps_i.value = len(needed), steps
    clocks = 0
    while any(left):
        valid = [bool(own) and rng.random() < there for own in left]
        drains = rng.random() < busy
        dut.ss_valid_i.value, dut.ss_drain_busy_i.value = packed(valid, 1), int(drains)
        dut.ss_needed_i.value = packed((needed[own[0].block] if own else 0 for own in left), 4)
        await settle()
        issued = unpacked(read(dut.ss_issue_o), 1, 2)
        parts = [unpacked(read(port), bits, 2) for port, bits in outputs(dut)]
        for skips, own in enumerate(left):
            blocked = drains and own and own[0].last
            assert issued[skips] == (valid[skips] and not blocked)
            if own:
                block, step, first, last = (part[skips] for part in parts)
                got = Slot(block, step, bool(first), bool(last))
                assert got == own[0], (skips, got, own[0])
            if issued[skips]:
                own.popleft()
        await clock(dut)
        clocks += 1
    return clocks


def outputs(dut: Dut) -> list[tuple[Dut, int]]:
    """Return the ports of a slot, with the bits of each sequencer."""
    return [(dut.ss_block_o, 5), (dut.ss_step_o, 2), (dut.ss_first_o, 1), (dut.ss_last_o, 1)]


Beat = tuple[int, int]
"""Data and side band."""


class Buffer:
    """One buffer and its model: whole packets, and the beats of the one that comes."""

    def __init__(self, rng: random.Random, depth: int) -> None:
        self.rng, self.depth = rng, depth
        self.whole: deque[list[Beat]] = deque()
        self.comes: list[Beat] = []
        self.beat: Beat | None = None
        self.last = self.pop = False
        self.address = 0

    @property
    def ready(self) -> bool:
        """Whether a bank is free."""
        return len(self.whole) < 2

    def choose(self, offers: float, takes: float) -> None:
        """Show a beat, which stays, read any beat, and perhaps pop."""
        if self.beat is None and self.rng.random() < offers:
            self.beat = (self.rng.getrandbits(16), self.rng.getrandbits(4))
            full = len(self.comes) + 1 == self.depth
            self.last = full or self.rng.random() < 0.3
        self.pop = bool(self.whole) and self.rng.random() < takes
        self.address = self.rng.randrange(len(self.whole[0])) if self.whole else 0

    def clock(self) -> None:
        """Take the beat, and the packet that was read away."""
        pushes = self.ready and self.beat is not None
        if self.pop:
            self.whole.popleft()
        if pushes and self.beat is not None:
            self.comes.append(self.beat)
            self.beat = None
            if self.last:
                self.whole.append(self.comes)
                self.comes = []


@cocotb.test()
async def ping_pong_buffer(dut: Dut) -> None:
    """What is read, of the first packet that is whole, while both sides stall."""
    rng = generator("ping_pong_buffer")
    every = [Buffer(rng, 5), Buffer(rng, 1)]
    await reset(dut)
    for index in range(COUNT):
        if index % 100 == 0:
            offers, takes = rng.choice([1.0, 0.5, 0.1]), rng.choice([1.0, 0.5, 0.1])
        for unit in every:
            unit.choose(offers, takes)
        dut.pp_valid_i.value = packed((unit.beat is not None for unit in every), 1)
        dut.pp_data_i.value = packed(((unit.beat or (0, 0))[0] for unit in every), 16)
        dut.pp_user_i.value = packed(((unit.beat or (0, 0))[1] for unit in every), 4)
        dut.pp_last_i.value = packed((unit.last for unit in every), 1)
        dut.pp_pop_i.value = packed((unit.pop for unit in every), 1)
        dut.pp5_address_i.value = every[0].address
        await settle()
        check(dut, every)
        await clock(dut)
        for unit in every:
            unit.clock()
    dut.pp_valid_i.value = dut.pp_pop_i.value = 0
    compared("ping_pong_buffer", COUNT)


def check(dut: Dut, every: list[Buffer]) -> None:
    """Compare all outputs that mean something."""
    assert unpacked(read(dut.pp_ready_o), 1, 2) == [unit.ready for unit in every]
    assert unpacked(read(dut.pp_valid_o), 1, 2) == [bool(unit.whole) for unit in every]
    beats = [unpacked(read(port), 16, 2) for port in (dut.pp_first_o, dut.pp_second_o)]
    data, users = unpacked(read(dut.pp_data_o), 16, 2), unpacked(read(dut.pp_user_o), 4, 2)
    counts = [read(dut.pp5_count_o), read(dut.pp1_count_o)]
    for index, unit in enumerate(every):
        if unit.whole:
            packet = unit.whole[0]
            assert counts[index] == len(packet)
            assert users[index] == packet[0][1]
            assert data[index] == packet[unit.address][0]
            assert beats[0][index] == packet[0][0]
            assert len(packet) < 2 or beats[1][index] == packet[1][0]
