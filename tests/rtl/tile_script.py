"""What stands at a tile's ports in each clock of a run, and what it must show: a script to replay.

A script is made from layers one after another, of any formats, with stalls on all streams; resets
come at any moment. ``tile_replay.sv`` and the bench in cocotb replay it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.tile.model import TileModel
from hwsim.tile.packets import Packet
from hwsim.tile.side_band import SIDE_BITS
from hwsim.tile.tile import Tile
from hwsim.verilog.compiled import packed_words
from tests.rtl.machines import Machine
from tests.rtl.tile_cases import Case, case_of
from tests.verification.tensors import one_thread

RST_N, WEIGHT_VALID, ACT_VALID, TAKES = 1, 2, 4, 8
"""Bits of a control word: what is driven."""
WEIGHT_READY, ACT_READY, RESULT_VALID, RESULT_LAST = 16, 32, 64, 128
"""What the tile shows."""
WEIGHT_NEXT, ACT_NEXT, RESULT_NEXT, CHECK = 256, 512, 1024, 2048
"""Whether a stream's beat is over after this clock, and whether anything is compared."""
IDLE = CHECK | WEIGHT_READY | ACT_READY
"""A tile in reset, after its first clock."""
STRETCH = 64
"""Clocks in which a stream stalls with one probability."""
Bytes = NDArray[np.uint8]
Walk = Callable[[Sequence[Packet], Tile, NDArray[np.bool_]], NDArray[np.uint16]]


class Script(NamedTuple):
    """A run.

    Attributes:
        control: A word a clock.
        weights: Beats of the weight stream, a row of bytes each, the most significant first:
            last and side band in two bytes, then the words.
        acts: Beats of activations: last in a byte, then the words.
        results: Beats of results.
    """

    control: NDArray[np.uint16]
    weights: Bytes
    acts: Bytes
    results: Bytes

    def write(self, folder: Path, index: int) -> None:
        """Write the files that ``tile_replay.sv`` reads."""
        parts = {"weights": self.weights, "acts": self.acts, "results": self.results}
        for name, part in parts.items():
            (folder / f"{index}.{name}").write_bytes(part.tobytes())
        (folder / f"{index}.control").write_bytes(self.control.astype(">u2").tobytes())
        shapes = {name: part.shape[1] for name, part in parts.items()}
        (folder / f"{index}.json").write_text(json.dumps(shapes), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, index: int) -> Script:
        """Read what ``write`` wrote."""
        shapes = json.loads((folder / f"{index}.json").read_text(encoding="utf-8"))
        control = np.fromfile(folder / f"{index}.control", ">u2").astype(np.uint16)
        weights, acts, results = (
            np.fromfile(folder / f"{index}.{name}", np.uint8).reshape(-1, width)
            for name, width in shapes.items()
        )
        return cls(control, weights, acts, results)


BEGIN = Script(np.array([0, IDLE], np.uint16), *(np.zeros((0, 0), np.uint8),) * 3)
"""Two clocks in reset; what a tile shows before the first is not known."""


def drawn_script(machine: Machine, seed: Sequence[int], clocks: int, walk: Walk) -> Script:
    """Draw a script of at least so many clocks.

    Args:
        machine: The tile.
        seed: Of all draws.
        clocks: At least.
        walk: ``clock_by_clock``, or its fast twin.
    """
    rng = np.random.default_rng(seed)
    parts, count = [BEGIN], 0
    with one_thread():
        while count < clocks:
            cases = [case_of(machine, rng) for _ in range(int(rng.integers(1, 6)))]
            parts.append(segment(machine.tile, cases, rng, walk))
            count += len(parts[-1].control)
    return joined(parts)


def script_of(tile: Tile, cases: Sequence[Case], rng: np.random.Generator, walk: Walk) -> Script:
    """Return a script of a reset and these cases."""
    return joined([BEGIN, segment(tile, cases, rng, walk)])


def joined(parts: Sequence[Script]) -> Script:
    """Return scripts one after another."""
    control = np.concatenate([part.control for part in parts])
    return Script(
        control,
        *(
            np.concatenate([beats for beats in own if beats.size])
            for own in zip(*(part[1:] for part in parts), strict=True)
        ),
    )


def segment(tile: Tile, cases: Sequence[Case], rng: np.random.Generator, walk: Walk) -> Script:
    """Return the clocks from a reset's end to the next one's, which may come at any moment."""
    packets = [packet for case in cases for packet in case.packets]
    words = np.concatenate([case.words for case in cases])
    whole = sum(int(packet.needed.size) + 90 * tile.rows * packet.final for packet in packets)
    limit = 20 * whole
    if rng.random() < 0.6:
        limit = int(rng.integers(1, min(whole, int(rng.choice([60, 400, 4000])))))
    control = walk(packets, tile, _wishes(rng, limit))
    beats = (_weight_beats(packets, tile, rng), _act_beats(packets, tile), _result_beats(words))
    streams = []
    # The last clock is the reset's first: nothing is taken, and the beats that wait are over.
    control[-1] &= np.uint16(0xFFFF ^ (RST_N | WEIGHT_NEXT | ACT_NEXT | RESULT_NEXT))
    for flag, own in zip((WEIGHT_NEXT, ACT_NEXT, RESULT_NEXT), beats, strict=True):
        over = int(np.count_nonzero(control & flag))
        control[-1] |= flag * (over < len(own))
        streams.append(own[: over + 1])
    resets = np.full(int(rng.choice([0, 0, 0, 1, 2, 3])), IDLE, np.uint16)
    resets |= rng.integers(0, 8, len(resets)).astype(np.uint16) << np.uint16(1)  # driven: any
    return Script(np.concatenate([control, resets]), *streams)


def _wishes(rng: np.random.Generator, clocks: int) -> NDArray[np.bool_]:
    """Whether a stream goes on in a clock, ``[clocks, 3]``: weights, activations, results."""
    stretches = -(-clocks // STRETCH)
    kinds = np.array([1, 1, 1, 0.9, 0.5, 0.1, 0.02])
    rates = rng.choice(kinds, (stretches, 3))
    if rng.random() < 0.3:
        rates[:] = 1
    found: NDArray[np.bool_] = rng.random((clocks, 3)) < np.repeat(rates, STRETCH, axis=0)[:clocks]
    return found


def clock_by_clock(
    packets: Sequence[Packet], tile: Tile, wishes: NDArray[np.bool_]
) -> NDArray[np.uint16]:
    """Return the control words of packets, up to the clock after the last result.

    They end earlier where the wishes end. A beat that is shown stays until it is taken.
    """
    model = TileModel(packets, tile)
    left = [sum(len(packet.weights) for packet in packets)]
    left += [sum(len(packet.words) for packet in packets)]
    results, shown = tile.rows * sum(packet.final for packet in packets), [False, False]
    control = []
    for wants in wishes.tolist():
        tells = model.handshakes()
        shown = [left[i] > 0 and (shown[i] or wants[i]) for i in (0, 1)]
        control.append(_word(shown, wants[2], tells))
        if results == 0:
            break
        taken = [shown[0] and tells.weight_ready, shown[1] and tells.act_ready]
        model.clock(shown[0], shown[1], wants[2])
        results -= tells.result_valid and wants[2]
        for stream in (0, 1):
            left[stream] -= taken[stream]
            shown[stream] = shown[stream] and not taken[stream]
    return np.array(control, np.uint16)


def _word(shown: Sequence[bool], takes: bool, tells: Any) -> int:  # noqa: ANN401  Handshakes
    """The control word of a clock."""
    flags = (
        (WEIGHT_VALID, shown[0]),
        (ACT_VALID, shown[1]),
        (TAKES, takes),
        (WEIGHT_READY, tells.weight_ready),
        (ACT_READY, tells.act_ready),
        (RESULT_VALID, tells.result_valid),
        (RESULT_LAST, tells.result_valid and tells.result_last),
        (WEIGHT_NEXT, shown[0] and tells.weight_ready),
        (ACT_NEXT, shown[1] and tells.act_ready),
        (RESULT_NEXT, takes and tells.result_valid),
    )
    return CHECK | RST_N | sum(flag for flag, there in flags if there)


def _weight_beats(packets: Sequence[Packet], tile: Tile, rng: np.random.Generator) -> Bytes:
    """The side band of later beats is noise."""
    found = []
    for packet in packets:
        tops = rng.integers(0, 1 << SIDE_BITS, len(packet.weights))
        tops[0] = packet.user.word
        tops[-1] |= 1 << SIDE_BITS
        high = tops.astype(">u2").view(np.uint8).reshape(-1, 2)
        found.append(np.hstack([high, packed_words(packet.weights, tile.word_bits)]))
    return np.concatenate(found)


def _act_beats(packets: Sequence[Packet], tile: Tile) -> Bytes:
    found = []
    for packet in packets:
        last = np.zeros((len(packet.words), 1), np.uint8)
        last[-1] = 1
        data = packed_words(packet.words, tile.arithmetic.activations.bits)
        found.append(np.hstack([last, data]))
    return np.concatenate(found)


def _result_beats(words: NDArray[np.uint32]) -> Bytes:
    ordered = np.ascontiguousarray(words[:, ::-1].astype(">u4"))
    return ordered.view(np.uint8).reshape(len(words), -1)
