"""Corners of runs of ``axil_tile`` that random runs miss: one clock, and the top bits of counts."""

from __future__ import annotations

import cocotb
from cocotb.triggers import ClockCycles, RisingEdge, with_timeout

from hwsim.verilog.registers import COUNTERS
from tests.rtl.axil_bus import LONGEST, Dut, Host
from tests.rtl.axil_layers import Layer
from tests.rtl.axil_model import word
from tests.rtl.axil_session import (
    CLEAR,
    MACHINE,
    START,
    begin,
    drawn,
    ended,
    finish,
    prepare,
)

DONE = word("status", done=1)


def is_one_job(layer: Layer) -> bool:
    """Whether a run of it is short."""
    return layer.jobs == 1


@cocotb.test()
async def done_outlives_an_acknowledge_that_comes_with_it(dut: Dut) -> None:
    """The write comes in each clock around the last result's, a run later each time."""
    host, rng = await begin(dut, "acknowledge")
    layer = drawn(rng, is_one_job)
    await prepare(host, layer)

    async def run(wait: int) -> int:
        host.offer(layer)
        assert await host.write("control", START | CLEAR)
        await ClockCycles(dut.aclk_i, wait)
        assert await host.write("status", DONE)
        await host.take(layer)
        await ClockCycles(dut.aclk_i, 2)
        await host.read("status")
        return await host.read("clocks") or 0

    clocks = await run(1)
    for wait in range(clocks - 10, clocks + 2):
        assert await run(wait) == clocks
    assert host.watch.model.ties == 1
    ended(host, "acknowledge")


@cocotb.test()
async def a_reset_forgets_the_place_in_a_packet(dut: Dut) -> None:
    """It comes after a packet's first beat, or before its last; then one as long as may be."""
    host, rng = await begin(dut, "place")
    most = MACHINE.tile.max_blocks
    layer = drawn(rng, lambda layer: len(layer.packets[0].words) == most)
    for beats in (1, most - 1):
        await prepare(host, layer)
        assert await host.write("control", START)
        host.offer(layer._replace(weights=layer.weights[:beats], acts=layer.acts[:beats]))
        await ClockCycles(dut.aclk_i, most + 10)
        assert host.watch.model.index == [beats, beats]
        await host.reset()
        await prepare(host, layer)
        assert await host.write("control", START)
        host.offer(layer)
        await ClockCycles(dut.aclk_i, 2 * most + 10)
        await host.read("status")  # no error: else the results would not come
        await finish(host, layer)
    ended(host, "place")


@cocotb.test()
async def all_bits_of_jobs_count(dut: Dut) -> None:
    """A job of very many: the run goes on after it."""
    host, rng = await begin(dut, "jobs")
    layer = drawn(rng, is_one_job)
    for more in (1 << 16, 1 << 31):
        await prepare(host, layer)
        assert await host.write("jobs", layer.jobs + more)
        assert await host.write("control", START)
        host.offer(layer)
        await host.take(layer)
        await ClockCycles(dut.aclk_i, 2)
        assert await host.read("status") == word("status", running=1)
        assert int(dut.s_axis_weight_tready_o.value)
        await host.reset()
        assert await host.read("status") == 0
        assert not int(dut.s_axis_weight_tready_o.value)
    ended(host, "jobs")


async def stalled(host: Host, layer: Layer) -> None:
    """Run a layer so that every counter counts."""
    await prepare(host, layer)
    host.results.pause = True
    assert await host.write("control", START)
    await ClockCycles(host.dut.aclk_i, 2)
    host.offer(layer._replace(acts=[]))
    await ClockCycles(host.dut.aclk_i, 4)
    host.offer(layer._replace(weights=[]))
    await with_timeout(RisingEdge(host.dut.m_axis_result_tvalid_o), LONGEST, "ns")
    await ClockCycles(host.dut.aclk_i, 2)
    host.results.pause = False


@cocotb.test()
async def counters_carry_and_wrap(dut: Dut) -> None:
    """Each goes on from 16 bits to 17, from 31 to 32, and from 32 to 0, in the clock it should."""
    host, rng = await begin(dut, "carry")
    for bits in (16, 31, 32):
        layer, start = drawn(rng), (1 << bits) - 1
        host.deposit(start)
        await ClockCycles(dut.aclk_i, 2)
        assert all([await host.read(register.name) == start for register in COUNTERS])
        await stalled(host, layer)
        await finish(host, layer)
        for name, count in host.watch.model.counters.items():
            assert await host.read(name) == count & 0xFFFFFFFF
            assert count > start, f"{name} has not counted"
    ended(host, "carry")
