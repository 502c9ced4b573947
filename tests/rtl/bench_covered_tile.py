"""The tile in lock-step, in cases that meet functional bins which no case before has met."""

from __future__ import annotations

import json
import os
import random

import cocotb
from cocotb.clock import Clock

from tests.rtl.bench import Dut
from tests.rtl.bench_tile import TileBench
from tests.rtl.covered import Bin, bins
from tests.rtl.tile_cases import case_of


@cocotb.test()
async def cases(dut: Dut) -> None:
    """Seeds in order; those that bring nothing new are passed over."""
    settings = json.loads(os.environ["TILE_BENCH"])
    cocotb.start_soon(Clock(dut.clk_i, 2, "ns").start())
    met: set[Bin] = set()
    ran = clocks = 0
    for seed in range(settings["seeds"]):
        case = case_of(settings["tile"], settings["formats"], seed)
        new = bins(case) - met
        if new:
            clocks += await TileBench(dut, case, random.Random(seed)).run()
            ran += 1
            met |= new
            cocotb.log.info("covered %s", json.dumps(sorted(new)))
    cocotb.log.info("compared cases: %d, clocks: %d", ran, clocks)
