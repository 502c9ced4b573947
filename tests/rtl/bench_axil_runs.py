"""Runs of ``axil_tile``: every clock equals the model, every result the kernels'."""

from __future__ import annotations

import random

import cocotb
from cocotb.triggers import ClockCycles

from hwsim.tile.clocks import clocks
from hwsim.verilog.registers import COUNTERS, REGISTERS
from tests.rtl.axil_bus import Dut, Host
from tests.rtl.axil_layers import Layer
from tests.rtl.axil_model import word
from tests.rtl.axil_session import (
    CLEAR,
    MACHINE,
    NEVER,
    OFTEN,
    RARELY,
    RUNS,
    START,
    begin,
    drawn,
    ended,
    finish,
    prepare,
)


async def disturb(host: Host, rng: random.Random) -> None:
    """Poll, and write what is refused or does nothing, until cancelled."""
    places = [*(r.offset for r in REGISTERS), 0x1C, 0x5C, 0x400]
    while True:
        await ClockCycles(host.dut.aclk_i, rng.randrange(1, 40))
        if rng.random() < 0.7:
            await host.read(rng.choice(places))
        else:
            place = rng.choice([p for p in places if p != 0x24])
            await host.write(place, rng.getrandbits(32), rng.randrange(16))


@cocotb.test()
async def layers_run(dut: Dut) -> None:
    """Run after run in other formats: packets of the next wait, counters go on or are cleared."""
    host, rng = await begin(dut, "layers")
    total = dict.fromkeys(("weight_packets", "act_packets", "result_beats"), 0)
    ahead = drawn(rng)
    host.offer(ahead)
    for _ in range(RUNS):
        layer, ahead = ahead, drawn(rng)
        host.offer(ahead)  # the streams must not take it in this run
        host.stall(rng, rng.choice([NEVER, RARELY, OFTEN]))
        await prepare(host, layer)
        if rng.random() < 0.5:
            assert await host.write("status", word("status", done=1))
        clears = rng.random() < 0.5
        total = {name: 0 if clears else count for name, count in total.items()}
        assert await host.write("control", START | CLEAR * clears)
        results = cocotb.start_soon(host.take(layer))
        while not results.done() and rng.random() < 0.9:
            await host.read(rng.choice([register.offset for register in REGISTERS]))
            if rng.random() < 0.2:
                await host.write(rng.choice(["format", "jobs", "identity"]), rng.getrandbits(32))
        await results
        await ClockCycles(dut.aclk_i, 2)
        assert await host.read("status") == word("status", done=1)
        more = len(layer.packets), len(layer.packets), len(layer.results)
        for name, count in zip(total, more, strict=True):
            total[name] += count
            assert await host.read(name) == total[name], name
        for register in COUNTERS:
            await host.read(register.name)
    ended(host, "layers")


@cocotb.test()
async def nothing_is_taken_before_a_start(dut: Dut) -> None:
    """Packets wait however long; then a run without stalls takes the tile's clocks."""
    host, rng = await begin(dut, "before")
    layer = drawn(rng)
    host.offer(layer)
    await prepare(host, layer)
    assert await host.write("control", CLEAR)
    await ClockCycles(dut.aclk_i, 50)
    assert all([await host.read(register.name) == 0 for register in COUNTERS])
    assert await host.write("control", START)
    await finish(host, layer)
    assert await host.read("clocks") == clocks(layer.packets, MACHINE.tile)
    ended(host, "before")


@cocotb.test()
async def counters_are_cleared_in_a_run(dut: Dut) -> None:
    """The clock in which they are cleared counts nothing; the run goes on."""
    host, rng = await begin(dut, "clear")
    host.stall(rng, RARELY)
    layer = drawn(rng)
    host.offer(layer)
    await prepare(host, layer)
    assert await host.write("control", START)
    results = cocotb.start_soon(host.take(layer))
    while not results.done():
        assert await host.write("control", CLEAR)
        await host.read(rng.choice(COUNTERS).name)
    await results
    await finish(host, layer._replace(results=[]))
    ended(host, "clear")


@cocotb.test()
async def a_reset_ends_whatever_is_under_way(dut: Dut) -> None:
    """Runs and bus accesses broken off in any clock; the next run is as the first."""
    host, rng = await begin(dut, "reset")
    halves: list[list[tuple[int | None, int, int | None]]] = [
        [(0x2C, 0, None)], [(None, 5, 15)], [(0x2C, 5, 15)]
    ]  # fmt: skip
    for half in halves:  # an address, data, a response: each left alone
        host.bus.write_if.b_channel.pause = host.bus.read_if.r_channel.pause = True
        await host.begin_write(half)
        reading = cocotb.start_soon(host.read("jobs"))
        await ClockCycles(dut.aclk_i, 8)
        reading.cancel()
        host.bus.write_if.b_channel.pause = host.bus.read_if.r_channel.pause = False
        await host.reset()
        assert await host.read("jobs") == 0
        assert await host.write("jobs", 7)
        await host.reset()
    for _ in range(RUNS):
        layer = drawn(rng)
        host.stall(rng, RARELY)
        host.offer(layer)
        await prepare(host, layer)
        assert await host.write("control", START)
        accesses = cocotb.start_soon(disturb(host, rng))
        results = cocotb.start_soon(host.take(layer))
        await ClockCycles(dut.aclk_i, rng.randrange(1, 300))
        accesses.cancel()
        results.cancel()
        await host.reset(rng.randrange(1, 4))
        assert not int(dut.irq_o.value)
        assert await host.read("status") == 0
        layer = drawn(rng)
        await prepare(host, layer)
        assert await host.write("control", START)
        host.offer(layer)
        await finish(host, layer)
    ended(host, "reset")


@cocotb.test()
async def packets_that_are_too_long_close_the_streams(dut: Dut) -> None:
    """Of weights with and without results, and of activations; only a reset opens them again."""
    host, rng = await begin(dut, "long")
    most = MACHINE.tile.max_blocks
    for final, beats in ((0, (most + 1, 0)), (1, (most + 2, 0)), (1, (1, most))):
        await prepare(host, drawn(rng)._replace(results=[(0, 1)]))
        assert await host.write("control", START)
        weights = [(0, final, 0)] * (beats[0] + 5 * (beats[1] == 0))
        acts = [(0, 0)] * (beats[1] + 5)
        host.offer(Layer(0, [], weights, acts if beats[1] else [], []))
        await ClockCycles(dut.aclk_i, 2 * most + 60)
        assert await host.read("status") == word("status", running=1, error=1)
        assert host.weights.count() >= 4 * (beats[1] == 0)
        assert await host.write("status", 0xFFFFFFFF)
        assert await host.read("status") == word("status", running=1, error=1)
        await host.reset()
    layer = drawn(rng)
    host.offer(layer)
    await prepare(host, layer)
    assert await host.write("control", START)
    await finish(host, layer)
    ended(host, "long")
