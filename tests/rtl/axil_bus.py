"""``axil_tile`` as its host sees it: cocotbext-axi's drivers, and a watch on every pin.

The watch knows only the pins; it compares each clock with the model of the registers.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

import cocotb
from cocotb.triggers import FallingEdge, with_timeout
from cocotbext.axi import AxiLiteBus, AxiLiteMaster
from cocotbext.axi.stream import define_stream

from tests.rtl.axil_layers import Layer, Machine, packed
from tests.rtl.axil_model import BY_NAME, Clock, Model

Dut: TypeAlias = Any
"""cocotb's handles are dynamic."""
LONGEST = 100_000
"""Nanoseconds, two a clock: what takes longer hangs."""
OKAY, SLVERR = 0, 2
WEIGHT = define_stream("Weight", ["tdata", "tuser", "tlast", "tvalid", "tready"])
ACT = define_stream("Act", ["tdata", "tlast", "tvalid", "tready"])
RESULT = define_stream("Result", ["tdata", "tlast", "tvalid", "tready"])


class Ports:
    """The module's ports without their suffixes, which cocotbext-axi does not know."""

    def __init__(self, dut: Dut) -> None:
        self._log, self._name = dut._log, dut._name
        for handle in dut:
            if handle._name.endswith(("_i", "_o")):
                setattr(self, handle._name[:-2], handle)


class Watch:
    """Compares every clock with the model, and what is held with what it was."""

    def __init__(self, dut: Dut, machine: Machine) -> None:
        self.ports, self.model = Ports(dut), Model(machine)
        self.before: dict[str, int] = {}
        self.address: int | None = None
        self.data: tuple[int, int] | None = None
        self.given: int | None = None
        self.wanted: int | None = None
        self.clocks = self.reads = self.writes = self.refusals = 0

    async def run(self) -> None:
        """Compare for ever: in the middle of a clock, pins are what the next edge sees."""
        while True:
            await FallingEdge(self.ports.aclk)  # type: ignore[attr-defined]
            pins = {
                name: int(handle.value)
                for name, handle in vars(self.ports).items()
                if not name.startswith("_") and ("tdata" not in name or "result" in name)
            }
            if not pins["aresetn"]:
                self.reset()
            else:
                if self.before:
                    self.edge(pins)
                self.compare(pins)
                self.before, self.clocks = pins, self.clocks + 1

    def reset(self) -> None:
        """Nothing is under way."""
        self.model.reset()
        self.before, self.address, self.data, self.given = {}, None, None, None

    def edge(self, pins: dict[str, int]) -> None:
        """The edge between the clock before and this one."""
        before, write = self.before, None
        for channel in ("b", "r"):
            if before[f"s_axil_{channel}valid"] and not before[f"s_axil_{channel}ready"]:
                held = {"b": ("bvalid", "bresp"), "r": ("rvalid", "rresp", "rdata")}[channel]
                assert all(pins[f"s_axil_{n}"] == before[f"s_axil_{n}"] for n in held), channel
        rises = pins["s_axil_bvalid"] and not before["s_axil_bvalid"]
        if self.address is not None and self.data is not None:
            write, self.address, self.data = (self.address, *self.data), None, None
        assert rises == (write is not None), "a response without a write, or none"
        okay = self.model.clock(handshakes(before), write)
        if write is not None:
            wanted = OKAY if okay else SLVERR
            assert pins["s_axil_bresp"] == wanted, (hex(write[0]), hex(write[1]), write[2])
            self.writes, self.refusals = self.writes + 1, self.refusals + (not okay)
        if before["s_axil_awvalid"] and before["s_axil_awready"]:
            self.address = before["s_axil_awaddr"]
        if before["s_axil_wvalid"] and before["s_axil_wready"]:
            self.data = before["s_axil_wdata"], before["s_axil_wstrb"]
        if before["m_axis_result_tvalid"] and not before["m_axis_result_tready"]:
            held = ("tvalid", "tdata", "tlast")
            assert all(pins[f"m_axis_result_{n}"] == before[f"m_axis_result_{n}"] for n in held)

    def compare(self, pins: dict[str, int]) -> None:
        """This clock's outputs."""
        pending = pins["s_axil_bvalid"]
        assert pins["s_axil_awready"] == (self.address is None and not pending)
        assert pins["s_axil_wready"] == (self.data is None and not pending)
        assert pins["s_axil_arready"] == (not pins["s_axil_rvalid"])
        assert pins["irq"] == self.model.done, "the interrupt"
        for stream, is_open in zip(("weight", "act"), self.model.open(), strict=True):
            assert is_open or not pins[f"s_axis_{stream}_tready"], f"{stream} taken out of turn"
        assert self.model.running or not pins["m_axis_result_tvalid"]
        if self.given is not None and pins["s_axil_rvalid"] and not self.before["s_axil_rvalid"]:
            found = pins["s_axil_rdata"], pins["s_axil_rresp"]
            wanted = self.wanted
            right = found == (wanted, OKAY) if wanted is not None else found[1] == SLVERR
            assert right, (hex(self.given), found, wanted)
            self.reads, self.refusals = self.reads + 1, self.refusals + (wanted is None)
            self.given = None
        if pins["s_axil_arvalid"] and pins["s_axil_arready"]:
            self.given = pins["s_axil_araddr"]
            self.wanted = self.model.read(self.given)


def handshakes(pins: dict[str, int]) -> Clock:
    """A clock's handshakes of the streams."""
    names = ("s_axis_weight", "s_axis_act", "m_axis_result")
    weight, act, result = [(pins[f"{name}_tvalid"], pins[f"{name}_tready"]) for name in names]
    lasts = [pins[f"{name}_tlast"] for name in names]
    return Clock(weight, act, result, pins["s_axis_weight_tuser"], lasts)


def pauses(rng: random.Random, share: float) -> Iterator[bool]:
    """A pause for each clock, with that probability."""
    while True:
        yield rng.random() < share


class Host:
    """Registers by name, and the three streams."""

    def __init__(self, dut: Dut, watch: Watch) -> None:
        ports, self.dut, self.watch = watch.ports, dut, watch
        clock, reset = dut.aclk_i, (dut.aresetn_i, False)
        self.bus = AxiLiteMaster(AxiLiteBus.from_prefix(ports, "s_axil"), clock, *reset)
        self.weights = WEIGHT[2](WEIGHT[0](ports, "s_axis_weight"), clock, *reset)
        self.acts = ACT[2](ACT[0](ports, "s_axis_act"), clock, *reset)
        self.results = RESULT[3](RESULT[0](ports, "m_axis_result"), clock, *reset)

    def channels(self) -> list[Any]:
        """What can pause: the bus's five channels and the streams."""
        write, read = self.bus.write_if, self.bus.read_if
        bus = [write.aw_channel, write.w_channel, write.b_channel, read.ar_channel, read.r_channel]
        return [*bus, self.weights, self.acts, self.results]

    def stall(self, rng: random.Random, shares: tuple[float, ...]) -> None:
        """Let every channel pause by a probability of its own out of these."""
        for channel in self.channels():
            channel.set_pause_generator(pauses(random.Random(rng.random()), rng.choice(shares)))

    async def reset(self, clocks: int = 3) -> None:
        """A reset; what the streams still had to send is forgotten."""
        for _ in range(clocks):
            await FallingEdge(self.dut.aclk_i)
            self.dut.aresetn_i.value = 0
        for stream in (self.weights, self.acts, self.results):
            stream.clear()
        await FallingEdge(self.dut.aclk_i)
        self.dut.aresetn_i.value = 1
        await FallingEdge(self.dut.aclk_i)

    async def write(self, place: str | int, data: int, strobe: int = 15) -> bool:
        """Write a register; return whether the response was OKAY."""
        offset = BY_NAME[place].offset if isinstance(place, str) else place
        await self.begin_write([(offset, data, strobe)])
        return await self.end_write()

    async def begin_write(self, writes: Sequence[tuple[int | None, int, int | None]]) -> None:
        """Send offsets, data and strobes one after another; None: that half of a write is not."""
        channel = self.bus.write_if
        for offset, data, strobe in writes:
            if offset is not None:
                await channel.aw_channel.send(channel.aw_channel._transaction_obj(awaddr=offset))
            if strobe is not None:
                beat = channel.w_channel._transaction_obj(wdata=data, wstrb=strobe)
                await channel.w_channel.send(beat)

    async def end_write(self) -> bool:
        """Take the response of the oldest write; return whether it was OKAY."""
        answer = await with_timeout(self.bus.write_if.b_channel.recv(), LONGEST, "ns")
        return int(answer.bresp) == OKAY

    async def read(self, place: str | int) -> int | None:
        """Read a register; None: it was refused."""
        offset = BY_NAME[place].offset if isinstance(place, str) else place
        answer = await with_timeout(self.bus.read(offset & ~3, 4), LONGEST, "ns")
        return int.from_bytes(answer.data, "little") if int(answer.resp) == OKAY else None

    def deposit(self, value: int) -> None:
        """Put a value into all counters and into the model's, while nothing is counted."""
        names = list(self.watch.model.counters)
        self.dut.u_run_control.counters_q.value = packed([value] * len(names), 32)
        self.watch.model.counters = dict.fromkeys(names, value)

    def offer(self, layer: Layer) -> None:
        """Queue a layer's packets on the streams."""
        for data, final, last in layer.weights:
            beat = WEIGHT[1](tdata=data, tuser=final, tlast=last)
            self.weights.send_nowait(beat)
        for data, last in layer.acts:
            self.acts.send_nowait(ACT[1](tdata=data, tlast=last))

    async def take(self, layer: Layer) -> None:
        """Take a layer's results and compare them."""
        for number, wanted in enumerate(layer.results):
            beat = await with_timeout(self.results.recv(), LONGEST, "ns")
            found = int(beat.tdata), int(beat.tlast)
            assert found == wanted, (number, hex(found[0]), hex(wanted[0]), found[1])


def start_watch(dut: Dut, machine: Machine) -> Watch:
    """Begin to compare."""
    watch = Watch(dut, machine)
    cocotb.start_soon(watch.run())
    return watch
