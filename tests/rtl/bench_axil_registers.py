"""Registers of ``axil_tile``: every place, every byte, every refusal, accesses one upon another."""

from __future__ import annotations

import cocotb

from hwsim.verilog.registers import ADDRESS_BITS, DATA_BITS, REGISTERS
from tests.rtl.axil_bus import Dut, pauses
from tests.rtl.axil_model import KINDS, mask
from tests.rtl.axil_session import (
    CLEAR,
    MACHINE,
    NEVER,
    RARELY,
    START,
    begin,
    drawn,
    ended,
    finish,
    prepare,
)


@cocotb.test()
async def every_register_is_in_its_place(dut: Dut) -> None:
    """Reads and writes of every offset around the map; the watch knows what each must give."""
    host, rng = await begin(dut, "places")
    host.stall(rng, RARELY)
    mapped = {register.offset for register in REGISTERS}
    near = {place ^ 1 << bit for place in mapped for bit in range(2, ADDRESS_BITS)}
    for place in sorted(mapped | near | {4 * rng.randrange(1024) for _ in range(50)}):
        assert (await host.read(place) is None) == (place not in mapped)
        data = rng.getrandbits(32) & ~START
        writable = {r.offset for r in REGISTERS if r.access != "RO"}
        assert await host.write(place + rng.randrange(4), data) == (place in writable)
    ended(host, "places")


@cocotb.test()
async def bytes_without_a_strobe_stay(dut: Dut) -> None:
    """Writes with any strobe, to what is stored and to commands."""
    host, rng = await begin(dut, "strobes")
    host.stall(rng, RARELY)
    for name in ("format", "jobs"):
        stored = 0
        for strobe in [*range(16), *range(16)]:
            data = rng.getrandbits(32)
            bits = sum(0xFF << 8 * i for i in range(4) if strobe >> i & 1)
            stored = (stored & ~bits | data & bits) & mask(name)
            assert await host.write(name, data, strobe)
            assert await host.read(name) == stored
    for strobe in range(0, 16, 2):
        assert await host.write("control", 0xFFFFFFFF, strobe)
    await host.reset()
    assert (await host.read("format"), await host.read("jobs")) == (0, 0)
    ended(host, "strobes")


@cocotb.test()
async def every_bit_is_kept_alone(dut: Dut) -> None:
    """Each bit of what is stored is 1 among 0 and 0 among 1; those without a meaning stay 0."""
    host, _ = await begin(dut, "bits")
    for name in ("format", "jobs"):
        for bit in range(DATA_BITS):
            for data in (1 << bit, 0xFFFFFFFF ^ 1 << bit):
                assert await host.write(name, data)
                assert await host.read(name) == data & mask(name)
    ended(host, "bits")


@cocotb.test()
async def accesses_follow_one_another(dut: Dut) -> None:
    """The next address and data wait on the bus while a write goes on; reads go on beside it."""
    host, rng = await begin(dut, "bursts")
    places = [register.offset for register in REGISTERS]
    for slow in (None, *host.channels()[:5]):
        host.stall(rng, RARELY if slow else NEVER)
        if slow:
            slow.set_pause_generator(pauses(rng, 0.8))
        writes = [(rng.choice(places), rng.getrandbits(32) & ~START, 15) for _ in range(40)]
        sent = cocotb.start_soon(host.begin_write(writes))
        reads = [cocotb.start_soon(host.read(rng.choice(places))) for _ in range(40)]
        for _ in writes:
            await host.end_write()
        for task in (sent, *reads):
            await task
    ended(host, "bursts")


@cocotb.test()
async def what_cannot_be_run_is_refused(dut: Dut) -> None:
    """No job, formats and scales that the tile does not take; then what a run forbids."""
    host, rng = await begin(dut, "refusals")
    layer = drawn(rng)
    assert await host.write("format", layer.format)
    assert not await host.write("control", START)
    assert not await host.write("control", START | CLEAR)
    assert await host.write("jobs", 1 << rng.randrange(8, 32))
    for number in range(64):
        for kind in range(KINDS + 1):
            if not (MACHINE.taken >> number & 1 and kind < KINDS):
                assert await host.write("format", number | kind << 6)
                assert not await host.write("control", START)
    assert not int(dut.s_axis_weight_tready_o.value)
    assert await host.write("control", CLEAR)
    await prepare(host, layer)
    assert await host.write("control", START)
    for name in ("format", "jobs"):
        before = await host.read(name)
        assert not await host.write(name, rng.getrandbits(32), rng.randrange(16))
        assert await host.read(name) == before
    assert not await host.write("control", START | CLEAR)  # and the clocks stay
    await host.read("clocks")
    assert await host.write("status", 0xFFFFFFFF)
    host.offer(layer)
    await finish(host, layer)
    ended(host, "refusals")
