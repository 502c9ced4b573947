"""What the benches of ``axil_tile`` share: the machine, how a test begins and ends, a run."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge

from hwsim.tile.side_band import rtl_formats
from hwsim.verilog.registers import COUNTERS
from tests.rtl.axil_bus import Dut, Host, start_watch
from tests.rtl.axil_layers import MACHINES, Layer, Machine, layer_of
from tests.rtl.axil_model import word

SETTINGS = json.loads(os.environ["AXIL_BENCH"])
MACHINE: Machine = MACHINES[SETTINGS["machine"]]
SEED: int = SETTINGS["seed"]
RUNS: int = SETTINGS["runs"]
NEVER, RARELY, OFTEN = (0.0,), (0.0, 0.1, 0.3), (0.0, 0.5, 0.9)
START, CLEAR = word("control", start=1), word("control", clear=1)
TAKEN = [name for name, number in rtl_formats().items() if MACHINE.taken >> number & 1]


async def begin(dut: Dut, name: str) -> tuple[Host, random.Random]:
    """Clock, watch, reset; random numbers of the test's own."""
    cocotb.start_soon(Clock(dut.aclk_i, 2, "ns").start())
    dut.aresetn_i.value = 0
    dut.s_axil_awprot_i.value = dut.s_axil_arprot_i.value = 0
    host = Host(dut, start_watch(dut, MACHINE))
    await host.reset()
    return host, random.Random(f"{name} {SEED}")


def ended(host: Host, what: str) -> None:
    """Say how much was compared."""
    watch = host.watch
    cocotb.log.info(
        "%s: %d clocks, %d reads, %d writes, %d refused: all as the model says",
        what, watch.clocks, watch.reads, watch.writes, watch.refusals,
    )  # fmt: skip


def drawn(rng: random.Random, wanted: Callable[[Layer], bool] | None = None) -> Layer:
    """A layer in a format that the machine takes, drawn until it is a wanted one."""
    while True:
        layer = layer_of(MACHINE, rng.choice(TAKEN), rng.getrandbits(32))
        if wanted is None or wanted(layer):
            return layer


async def prepare(host: Host, layer: Layer) -> None:
    """Write what a run needs."""
    assert await host.write("format", layer.format)
    assert await host.write("jobs", layer.jobs)


async def finish(host: Host, layer: Layer) -> None:
    """Take the results, see the interrupt, and read all counters."""
    await host.take(layer)
    await ClockCycles(host.dut.aclk_i, 1)
    await FallingEdge(host.dut.aclk_i)
    assert int(host.dut.irq_o.value) == 1
    assert host.results.empty()
    assert await host.write("status", 0xFFFFFFFF, strobe=0b1110)  # done stays
    for register in COUNTERS:
        await host.read(register.name)
