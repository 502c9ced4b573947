"""The tile in lock-step with its model: every handshake of every clock, every bit of results."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Iterator
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from hwsim.tile.model import TileModel
from tests.rtl.tile_cases import Case, case_of


@cocotb.test()
async def lock_step(dut: Any) -> None:  # noqa: ANN401  cocotb's handles are dynamic
    """All cases of the environment's list, one after another, with random stalls."""
    settings = json.loads(os.environ["TILE_BENCH"])
    clocks = 0
    cocotb.start_soon(Clock(dut.clk_i, 2, "ns").start())
    for seed in range(settings["first_seed"], 1 << 30):
        case = case_of(settings["tile"], settings["formats"], seed)
        clocks += await TileBench(dut, case, random.Random(seed)).run()
        if clocks >= settings["clocks"]:
            break
    dut._log.info("clocks in lock-step: %d", clocks)
    assert clocks >= settings["clocks"]


class TileBench:
    """Drives one case; every stream stalls by a probability of its own."""

    def __init__(self, dut: Any, case: Case, rng: random.Random) -> None:  # noqa: ANN401  as above
        self.dut, self.case, self.rng = dut, case, rng
        self.stalls = [rng.choice([0, 0, 0.1, 0.5, 0.9]) for _ in range(3)]

    async def reset(self) -> None:
        dut = self.dut
        await FallingEdge(dut.clk_i)
        dut.rst_ni.value = 0
        dut.weight_valid_i.value = dut.act_valid_i.value = dut.result_ready_i.value = 0
        await FallingEdge(dut.clk_i)
        await FallingEdge(dut.clk_i)
        dut.rst_ni.value = 1

    async def run(self) -> int:
        """Return the clocks that were compared."""
        dut, case, rng = self.dut, self.case, self.rng
        model = TileModel(case.packets, case.weight, case.tile)
        await self.reset()
        weights, acts = weight_beats(case), act_beats(case)
        weight, act = next(weights), next(acts)
        shown, clocks, taken = [False, False], 0, 0
        while taken < len(case.results):
            # Outputs are registers: in the middle of a clock they are what the model says.
            wanted = model.handshakes()
            ready = (int(dut.weight_ready_o.value), int(dut.act_ready_o.value))
            assert ready == (wanted.weight_ready, wanted.act_ready), (clocks, ready, wanted)
            assert int(dut.result_valid_o.value) == wanted.result_valid, (clocks, wanted)
            if wanted.result_valid:
                self.check(case.results[taken], wanted.result_last)
            for stream, beat in enumerate((weight, act)):
                # Once shown, a beat stays until it is taken.
                wants = rng.random() >= self.stalls[stream]
                shown[stream] = beat is not None and (shown[stream] or wants)
            takes = rng.random() >= self.stalls[2]
            self.drive(weight if shown[0] else None, act if shown[1] else None, takes)
            model.clock(shown[0], shown[1], takes)
            taken += wanted.result_valid and takes
            if shown[0] and wanted.weight_ready:
                weight, shown[0] = next(weights), False
            if shown[1] and wanted.act_ready:
                act, shown[1] = next(acts), False
            clocks += 1
            await FallingEdge(dut.clk_i)
        assert weight is None
        assert act is None
        return clocks

    def drive(
        self, weight: tuple[int, int, int] | None, act: tuple[int, int] | None, takes: bool
    ) -> None:
        """Show the beats, or that there is none."""
        dut = self.dut
        dut.weight_valid_i.value = int(weight is not None)
        dut.act_valid_i.value = int(act is not None)
        dut.result_ready_i.value = int(takes)
        if weight is not None:
            dut.weight_data_i.value, dut.weight_user_i.value, dut.weight_last_i.value = weight
        if act is not None:
            dut.act_data_i.value, dut.act_last_i.value = act

    def check(self, beat: tuple[list[int], bool], last: bool) -> None:
        """Compare a beat of results, bit for bit."""
        got = self.dut.result_data_o.value.to_unsigned()
        assert got == packed(beat[0], 32), (hex(got), [hex(v) for v in beat[0]])
        assert int(self.dut.result_last_o.value) == last == beat[1]


def weight_beats(case: Case) -> Iterator[tuple[int, int, int] | None]:
    """Data, side band and last of every beat, then None for ever."""
    for packet in case.packets:
        for index, row_words in enumerate(packet.weights):
            data = packed(row_words, case.tile.word_bits)
            yield data, packet.user.word, int(index == len(packet.weights) - 1)
    while True:
        yield None


def act_beats(case: Case) -> Iterator[tuple[int, int] | None]:
    """Data and last of every beat, then None for ever."""
    bits = case.tile.arithmetic.activations.bits
    for packet in case.packets:
        for index, words in enumerate(packet.words):
            yield packed(words.reshape(-1), bits), int(index == len(packet.words) - 1)
    while True:
        yield None


def packed(values: Iterable[Any], bits: int) -> int:
    """One number of many, the first lowest."""
    return sum(int(value) << (bits * index) for index, value in enumerate(values))
