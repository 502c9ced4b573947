"""The tile in lock-step, in cases that meet functional bins which no case before has met."""

from __future__ import annotations

import json
import os

import cocotb
import numpy as np
from cocotb.clock import Clock

from tests.rtl.bench import Dut
from tests.rtl.bench_tile import TileBench
from tests.rtl.covered import LONGEST, Bin, bins
from tests.rtl.machines import machine
from tests.rtl.tile_cases import case_of
from tests.rtl.tile_script import clock_by_clock, script_of


@cocotb.test()
async def cases(dut: Dut) -> None:
    """Seeds in order; those that bring nothing new are passed over."""
    settings = json.loads(os.environ["TILE_BENCH"])
    each = machine(settings["tile"], settings["formats"])
    cocotb.start_soon(Clock(dut.aclk_i, 2, "ns").start())
    met: set[Bin] = set()
    ran = clocks = 0
    for seed in range(settings["seeds"]):
        rng = np.random.default_rng(seed)
        case = case_of(each, rng, LONGEST)
        new = bins(case) - met
        if new:
            script = script_of(each.tile, [case], rng, clock_by_clock)
            clocks += await TileBench(dut).run(script)
            ran += 1
            met |= new
            cocotb.log.info("covered %s", json.dumps(sorted(new)))
    cocotb.log.info("compared cases: %d, clocks: %d", ran, clocks)
