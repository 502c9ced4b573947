"""Vectors of the buffer and the sequencers: what they must show in every clock, resets included.

The models are lists of what is to come, not state machines like the RTL's.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

Ports = dict[str, int]
SCALE_BITS = (8, 1, 4)
FACTOR_BITS = (11, 1, 24)
CORRECTION_BITS = 15
FLUSH = 3


def buffer(depth: int) -> Iterator[tuple[Ports, Ports]]:
    """Packets of 1 to ``depth`` beats, sent and popped at random."""
    rng = random.Random(6)
    yield {"rst_ni": 0}, {}
    while True:
        yield from _buffered(rng, depth, rng.choice([3, 30, 300]))
        # A reset at any moment; the beats that it meets are lost.
        yield {"rst_ni": 0, "valid_i": 1, "last_i": rng.getrandbits(1)}, {}
        yield {"rst_ni": 0, "valid_i": rng.getrandbits(1)}, {"ready_o": 1, "valid_o": 0}


def _buffered(rng: random.Random, depth: int, clocks: int) -> Iterator[tuple[Ports, Ports]]:
    """Clocks between two resets."""
    whole: list[tuple[list[int], int]] = []
    coming: list[int] = []
    side: list[int] = []
    beat: tuple[int, int] | None = None
    length, fills, drains = 1, 0.5, 0.5
    for clock in range(clocks):
        if clock % 50 == 0:
            fills, drains = rng.choice([0.2, 0.6, 1]), rng.choice([0.1, 0.5, 1])
        ready, valid = len(whole) < 2, len(whole) > 0
        pop = valid and rng.random() < drains
        if beat is None and rng.random() < fills:
            beat = rng.randrange(16), rng.randrange(4)
        shown, address = beat or (rng.randrange(16), rng.randrange(4)), rng.randrange(depth)
        last = len(coming) + 1 == length
        given = {"rst_ni": 1, "valid_i": int(beat is not None), "data_i": shown[0]}
        given |= {"user_i": shown[1], "last_i": int(last), "address_i": address, "pop_i": int(pop)}
        wanted = {"ready_o": int(ready), "valid_o": int(valid)}
        if valid:
            beats, tag = whole[0]
            wanted |= {"count_o": len(beats), "user_o": tag, "first_o": beats[0]}
            wanted |= {"second_o": beats[1]} if len(beats) > 1 else {}
            wanted |= {"data_o": beats[address]} if address < len(beats) else {}
        yield given, wanted
        if pop:
            whole.pop(0)
        if beat is not None and ready:
            coming.append(shown[0])
            side.append(shown[1])
            beat = None
            if last:
                whole.append((coming, side[0]))
                coming, side, length = [], [], rng.randrange(1, depth + 1)


def sequencer(skips: bool) -> Iterator[tuple[Ports, Ports]]:
    """Groups of 1 to 8 blocks; zero steps are skipped, or not."""
    rng = random.Random(7)
    reset = {"rst_ni": 0, "valid_i": 1, "blocks_i": 3, "steps_i": 2, "needed_i": 15}
    yield reset, {}
    while True:
        blocks, steps = rng.randrange(1, 9), rng.randrange(1, 5)
        slots = [_slots(rng, block, steps, skips) for block in range(blocks)]
        flat = [(needed, slot) for needed, some in slots for slot in some]
        base = {"rst_ni": 1, "blocks_i": blocks, "steps_i": steps}
        while rng.random() < 0.3:
            yield base | {"drain_busy_i": rng.getrandbits(1)}, {"issue_o": 0}
        whole = rng.random() < 0.8
        for index, (needed, (block, step)) in enumerate(flat):
            if not whole and rng.random() < 0.3:
                yield reset | {"steps_i": rng.randrange(1, 5)}, {}
                break
            last = index == len(flat) - 1
            while True:
                busy = rng.random() < 0.4
                issue = not (last and busy)
                given = {"valid_i": 1, "needed_i": needed, "drain_busy_i": int(busy)}
                wanted = {"issue_o": int(issue), "block_o": block, "step_o": step}
                yield base | given, wanted | {"first_o": int(index == 0), "last_o": int(last)}
                if issue:
                    break


def _slots(
    rng: random.Random, block: int, steps: int, skips: bool
) -> tuple[int, list[tuple[int, int]]]:
    """A block's needed steps (those beyond the format's count for nothing) and its slots."""
    needed = rng.randrange(16)
    served = [step for step in range(steps) if not skips or needed >> step & 1]
    return needed, [(block, step) for step in served or [0]]


def drain(rows: int, digit_bits: int) -> Iterator[tuple[Ports, Ports]]:
    """Groups of all kinds of scales, taken, loaded and stalled at random."""
    rng, model = random.Random(8), _Drain(rows)
    reset = {"rst_ni": 0, "take_i": 1, "load_i": 1, "out_ready_i": 0}
    yield reset, {}
    while True:
        group, work = _group(rng, rows, digit_bits)
        until = rng.randrange(1, 2 * len(work)) if rng.random() < 0.2 else None
        ready_rate, awaits, loaded = rng.choice([0.1, 0.5, 1]), rng.randrange(1, 5), False
        first = True
        while first or model.busy:
            if until == 0:
                yield reset | {"scale_kind_i": rng.randrange(3)}, {}
                model = _Drain(rows)
                break
            until = None if until is None else until - 1
            ready = rng.random() < ready_rate
            take, awaits = first, awaits - (not first)
            load = not loaded and awaits == 0
            loaded = loaded or load
            given = group | {"take_i": int(take), "load_i": int(load), "out_ready_i": int(ready)}
            yield given, model.shows(ready)
            model.clock(take, work if load else None, ready)
            first = False
        for _ in range(rng.choice([0, 0, 3])):
            ready = rng.random() < ready_rate
            yield group | {"out_ready_i": int(ready)}, model.shows(ready)
            model.clock(False, None, ready)


class _Drain:
    """What is to come: a list of clocks' work, and a beat on its way out."""

    def __init__(self, rows: int) -> None:
        self.rows, self.busy = rows, False
        self.work: list[Ports] = []
        self.waits = False
        self.leaving = self.leaving_last = self.valid = self.last = False

    def enable(self, ready: bool) -> bool:
        return not (self.leaving and self.valid and not ready)

    def shows(self, ready: bool) -> Ports:
        found = {"busy_o": int(self.busy), "out_valid_o": int(self.valid)}
        if self.valid:
            found["out_last_o"] = int(self.last)
        control = {"enable": int(self.enable(ready)), "multiply": 0, "whole": 0, "row_end": 0}
        if self.work and not self.waits:
            control |= {name: value for name, value in self.work[0].items() if name != "row"}
        return found | {f"drain_o.{name}": value for name, value in control.items()}

    def clock(self, take: bool, load: list[Ports] | None, ready: bool) -> None:
        if self.enable(ready):
            if self.leaving:
                self.valid, self.last = True, self.leaving_last
            elif ready:
                self.valid = False
            done = self.work[0] if self.work and not self.waits else {}
            self.leaving = bool(done.get("is_factor") and done["whole"])
            self.leaving_last = self.leaving and done["row"] == self.rows - 1
            if done:
                self.work.pop(0)
                self.busy = bool(self.work)
            self.waits = False
        if take:
            self.busy = True
        if load is not None:
            self.work, self.waits = list(load), True


def _group(rng: random.Random, rows: int, digit_bits: int) -> tuple[Ports, list[Ports]]:
    """A group's inputs, and its clocks of work."""
    kind, corrects, final = rng.randrange(3), rng.random() < 0.5, rng.random() < 0.5
    scales = [rng.randrange((256, 255, 127)[kind]) for _ in range(rows)]
    corrections = [rng.randrange(-32767, 32768) for _ in range(rows)]
    factors = [_factor(rng, kind) for _ in range(rows)]
    work: list[Ports] = []
    for row in range(rows):
        number, exponent = scales[row], 0
        if kind == 1:
            number, exponent = 1, scales[row] - 127
        if kind == 2:
            field, fraction = scales[row] >> 3, scales[row] & 7
            number, exponent = fraction + 8 * (field > 0), max(field, 1) - 10
        common = {"row": row, "exponent": exponent & 1023, "is_factor": 0}
        work += _digits(
            number, SCALE_BITS[kind], digit_bits, common | {"is_correction": 0, "negate": 0}
        )
        if corrects:
            negative = {"is_correction": 1, "negate": int(corrections[row] < 0)}
            work += _digits(abs(corrections[row]), CORRECTION_BITS, digit_bits, common | negative)
        work[-1]["row_end"] = 1
    if final:
        work += [{"row_end": 0, "whole": 0} for _ in range(FLUSH)]
        for row in range(rows):
            field, fraction = factors[row] >> 23, factors[row] & 0x7FFFFF
            bits = FACTOR_BITS[kind]
            number = (fraction + (1 << 23) * (field > 0)) >> (24 - bits)
            exponent = max(field, 1) - 150 + 24 - bits
            common = {"row": row, "exponent": exponent & 1023, "is_factor": 1}
            work += _digits(number, bits, digit_bits, common | {"is_correction": 0, "negate": 0})
            work[-1]["row_end"] = 1
    fields = {"scale_i": (scales, 8), "correction_i": (corrections, 16), "factor_i": (factors, 32)}
    given = {"rst_ni": 1, "scale_kind_i": kind, "corrects_i": int(corrects), "final_i": int(final)}
    for name, (values, bits) in fields.items():
        given[name] = sum((value & (1 << bits) - 1) << bits * i for i, value in enumerate(values))
    return given, work


def _factor(rng: random.Random, kind: int) -> int:
    """An FP32 word: an FP16 number, a power of two, or any positive number; seldom 0."""
    if rng.random() < 0.05:
        return 0
    field, fraction = (
        rng.choice([rng.randrange(255), 1 << rng.randrange(8)]),
        rng.randrange(1 << 23),
    )
    if kind == 0:
        return rng.randrange(103, 143) << 23 | fraction >> 13 << 13
    if kind == 1:
        return max(field, 1) << 23
    return (field if rng.random() < 0.8 else 0) << 23 | fraction


def _digits(number: int, bits: int, digit_bits: int, common: Ports) -> list[Ports]:
    """The clocks of a multiplier, most significant digit first, then one at rest."""
    count = -(-bits // digit_bits)
    found = []
    for place in range(count - 1, -1, -1):
        value = number >> digit_bits * place & (1 << digit_bits) - 1
        digit = {"digit": value, "multiply": 1, "row_end": 0}
        ends = {"start": int(place == count - 1), "whole": 0}
        found.append(common | digit | ends)
    kept = {"row", "is_factor", "is_correction"}
    rest = {name: value for name, value in common.items() if name in kept}
    return [*found, rest | {"multiply": 0, "whole": 1, "row_end": 0}]
