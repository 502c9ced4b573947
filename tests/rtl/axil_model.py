"""What ``axil_tile`` promises of its registers, clock by clock."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from hwsim.verilog.registers import COUNTERS, IDENTITY, REGISTERS, VERSION
from tests.rtl.axil_layers import Machine, packed

BY_OFFSET = {register.offset: register for register in REGISTERS}
BY_NAME = {register.name: register for register in REGISTERS}
KINDS = 3
"""Numbers of scale kinds."""


def word(name: str, **values: int) -> int:
    """A register's word with these fields, and 0 elsewhere."""
    return sum(values[f.name] << f.low for f in BY_NAME[name].fields if f.name in values)


def mask(name: str) -> int:
    """The bits of a register that have a meaning."""
    found = BY_NAME[name].fields
    return sum((1 << f.width) - 1 << f.low for f in found) if found else 0xFFFFFFFF


class Clock(NamedTuple):
    """Handshakes of a clock: valid and ready of each stream, and more of the beats."""

    weight: tuple[int, int]
    act: tuple[int, int]
    result: tuple[int, int]
    final: int
    lasts: Sequence[int]


class Model:
    """The registers, and what a clock does to them.

    ``ties`` counts the runs whose end was acknowledged in the clock in which it came.
    """

    def __init__(self, machine: Machine) -> None:
        tile, rule = machine.tile, machine.tile.arithmetic
        self.machine, self.ties = machine, 0
        self.constants = {
            "identity": IDENTITY,
            "version": VERSION,
            "geometry": word(
                "geometry", rows=tile.rows, columns=tile.columns, lanes=rule.lanes,
                activation=rule.activations.id or 0,
            ),
            "arithmetic": word(
                "arithmetic", exponent_bits=rule.exponent_bits, guard_bits=rule.guard_bits,
                accumulator_bits=rule.accumulator_bits, digit_bits=tile.digit_bits,
                has_correction=machine.has_correction, skip_zero_steps=tile.skip_zero_steps,
            ),
            "max_blocks": tile.max_blocks,
            "formats_low": machine.taken & 0xFFFFFFFF,
            "formats_high": machine.taken >> 32,
            "control": 0,
        }  # fmt: skip
        self.reset()

    def reset(self) -> None:
        """All is as after a reset."""
        self.stored = {"format": 0, "jobs": 0}
        self.running = self.done = self.error = False
        self.counters = {register.name: 0 for register in COUNTERS}
        self.left = [0, 0]  # jobs whose weights, and whose results are to come
        self.index, self.final, self.owed = [0, 0], 0, 0

    def read(self, offset: int) -> int | None:
        """What a read gives; None: SLVERR."""
        register = BY_OFFSET.get(offset & ~3)
        if register is None:
            return None
        state = {"running": self.running, "done": self.done, "error": self.error}
        known = {
            **self.constants,
            **self.stored,
            **{name: count & 0xFFFFFFFF for name, count in self.counters.items()},
            "status": word("status", **state),
        }
        return known[register.name]

    def clock(self, seen: Clock, write: tuple[int, int, int] | None) -> bool:
        """One edge: handshakes, and a write of offset, data, strobe; return whether it is OKAY."""
        start = clear = acknowledge = okay = False
        stored = dict(self.stored)
        if write is not None:
            register = BY_OFFSET.get(write[0] & ~3)
            name = register.name if register and register.access != "RO" else None
            bits = packed([0xFF * (write[2] >> i & 1) for i in range(4)], 8)
            given = write[1] & bits
            if name in stored and not self.running:
                stored[name] = (self.stored[name] & ~bits | given) & mask(name)
                okay = True
            if name == "status":
                okay, acknowledge = True, bool(given & word("status", done=1))
            if name == "control":
                start, clear = (bool(given & word("control", **{f: 1})) for f in ("start", "clear"))
                okay = not start or self.can_start()
                start, clear = start and okay, clear and okay
        self.run(seen, start, acknowledge)
        if clear:
            self.counters = dict.fromkeys(self.counters, 0)
        self.stored = stored
        return okay

    def can_start(self) -> bool:
        """Whether a start would be taken."""
        number, kind = self.stored["format"] & 63, self.stored["format"] >> 6 & 3
        takes = self.machine.taken >> number & 1 and kind < KINDS
        return bool(not self.running and self.stored["jobs"] and takes)

    def run(self, seen: Clock, start: bool, acknowledge: bool) -> None:
        """What a clock's handshakes do."""
        names = ("weight", "act", "result")
        taken = [all(getattr(seen, name)) for name in names]
        ended = [took and bool(last) for took, last in zip(taken, seen.lasts, strict=True)]
        self.count(seen, taken, ended)
        final = self.final if self.index[0] else seen.final
        if taken[0]:
            self.owed += self.index[0] == 0
            self.final = final
        self.owed -= ended[1]
        most = self.machine.tile.max_blocks
        for stream, limit in enumerate((most + 1 + final, most)):
            self.index[stream] = 0 if ended[stream] else self.index[stream] + taken[stream]
            self.error |= self.index[stream] == limit and taken[stream]
        self.left[0] -= ended[0] and bool(final)
        self.left[1] -= ended[2]
        finished = ended[2] and self.left[1] == 0
        self.ties += finished and acknowledge
        self.done = finished or (self.done and not start and not acknowledge)
        self.running = start or (self.running and not finished)
        if start:
            self.left = [self.stored["jobs"], self.stored["jobs"]]

    def count(self, seen: Clock, taken: list[bool], ended: list[bool]) -> None:
        """The counters."""
        more = {
            "clocks": self.running,
            "weight_packets": ended[0],
            "act_packets": ended[1],
            "result_beats": taken[2],
            "weight_stalls": seen.weight == (0, 1),
            "act_stalls": seen.act == (0, 1),
            "result_stalls": seen.result == (1, 0),
        }
        self.counters = {name: count + more[name] for name, count in self.counters.items()}

    def open(self) -> tuple[bool, bool]:
        """Whether weights, and activations, may be taken."""
        runs = self.running and not self.error
        return runs and self.left[0] > 0, runs and self.owed > 0
