"""The tile in lock-step with its clock-by-clock model, on machines drawn anew in every run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwsim.tile.clocks import clocks
from hwsim.tile.model import TileModel
from hwsim.verilog.sources import RTL
from quant.common.progress import say
from tests.rtl.machines import (
    EVERY,
    EXTREMES,
    JUDGE,
    JUDGE_CLOCKS,
    JUDGE_SEED,
    Machine,
    drawn_machines,
    machine,
    seed_of_run,
)
from tests.rtl.simulator import ARRAY, PACKAGES, PE, build, run
from tests.rtl.tile_cases import Case, case_of
from tests.rtl.tile_replay import build_replays, replay
from tests.rtl.tile_script import clock_by_clock, drawn_script
from tests.rtl.tile_twin import compiled_walk

MACHINES, CLOCKS = 12, 20_000
"""Drawn in a run, and clocks of each."""
IN_COCOTB = 1_500
"""Clocks in cocotb."""
pytestmark = pytest.mark.rtl


def lock_step(machines: list[Machine], seed: int, count: int, folder: Path) -> None:
    """Build machines and that which judges mutants; replay scripts of so many clocks on each."""
    say(f"machines and scripts of HWSIM_SEED={seed}:")
    for index, each in enumerate(machines):
        say(f"  {index}: {each}")
        drawn_script(each, [seed, index], count, compiled_walk).write(folder, index)
    judging = drawn_script(JUDGE, [JUDGE_SEED], JUDGE_CLOCKS, compiled_walk)
    judging.write(folder, len(machines))
    machines = [*machines, JUDGE]
    outcome = replay(build_replays(machines, folder), folder, seed)
    assert sorted(outcome.clocks) == list(range(len(machines))), outcome.text
    assert min(outcome.clocks.values()) >= min(count, JUDGE_CLOCKS)


def test_every_clock_of_drawn_machines_equals_the_model(tmp_path: Path) -> None:
    seed = seed_of_run()
    machines = [*drawn_machines(seed, MACHINES), *EVERY, *EXTREMES]
    lock_step(machines, seed, CLOCKS, tmp_path)


@pytest.mark.slow
def test_every_clock_of_more_machines_equals_the_model(tmp_path: Path) -> None:
    seed = seed_of_run() + 1
    lock_step(drawn_machines(seed, MACHINES), seed, 3 * CLOCKS, tmp_path)


def test_in_cocotb_every_clock_equals_the_model(tmp_path: Path) -> None:
    seed = seed_of_run()
    names = ["bitmod4", "int4-asym", "nvfp4", "mxfp4", "int8"]
    each = machine({"rows": 3, "columns": 2, "max_group": 20, "skip_zero_steps": True}, names)
    say(f"script of HWSIM_SEED={seed} for {each}")
    drawn_script(each, [seed], IN_COCOTB, clock_by_clock).write(tmp_path, 0)
    sources = [RTL / "tb/verilator.vlt", *PACKAGES, *PE, *ARRAY]
    build("axis_tile", sources, tmp_path, each.parameters)
    assert run("axis_tile", "tests.rtl.bench_tile", tmp_path, {"TILE_SCRIPT": str(tmp_path)}) == (
        1,
        0,
    )


@pytest.mark.parametrize("seed", range(3))
def test_the_compiled_walk_is_the_model(seed: int) -> None:
    for index, each in enumerate(drawn_machines(seed, MACHINES)):
        given = each, [seed, index], 1_000
        fast, slow = (drawn_script(*given, walk) for walk in (compiled_walk, clock_by_clock))
        assert np.array_equal(fast.control, slow.control), str(each)


def free_run(case: Case) -> int:
    """Clocks of the model when nothing stalls from outside."""
    model = TileModel(case.packets, case.tile)
    count, left = 0, len(case.words)
    beats = [
        sum(len(packet.weights) for packet in case.packets),
        sum(len(packet.words) for packet in case.packets),
    ]
    while left:
        shown = model.handshakes()
        left -= shown.result_valid
        offers = beats[0] > 0, beats[1] > 0
        model.clock(*offers, True)
        beats[0] -= offers[0] and shown.weight_ready
        beats[1] -= offers[1] and shown.act_ready
        count += 1
    return count


def test_the_closed_form_of_the_clocks_equals_the_model() -> None:
    for index, each in enumerate(drawn_machines(1, 24)):
        rng = np.random.default_rng(index)
        for _ in range(10):
            layers = [case_of(each, rng) for _ in range(2)]
            packets = [packet for layer in layers for packet in layer.packets]
            words = np.concatenate([layer.words for layer in layers])
            case = Case(each.tile, packets, words)
            assert clocks(case.packets, case.tile) == free_run(case), (index, str(each))
