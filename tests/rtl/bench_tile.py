"""A script replayed on a tile in cocotb: every handshake of every clock, every bit of results."""

from __future__ import annotations

import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge

from hwsim.tile.side_band import SIDE_BITS
from tests.rtl import tile_script as at
from tests.rtl.bench import Dut
from tests.rtl.tile_script import Script


@cocotb.test()
async def replay(dut: Dut) -> None:
    """The script that the environment names."""
    script = Script.read(Path(os.environ["TILE_SCRIPT"]), 0)
    cocotb.start_soon(Clock(dut.aclk_i, 2, "ns").start())
    clocks = await TileBench(dut).run(script)
    dut._log.info("compared clocks: %d", clocks)


class TileBench:
    """Drives ``axis_tile``, and compares all that it shows."""

    def __init__(self, dut: Dut) -> None:
        self.dut = dut

    async def run(self, script: Script) -> int:
        """Replay a script; return its clocks."""
        weights, acts, results = (
            [int.from_bytes(row.tobytes(), "big") for row in part] + [0] for part in script[1:]
        )
        places = [0, 0, 0]
        for clock, word in enumerate(script.control.tolist()):
            await FallingEdge(self.dut.aclk_i)
            if word & at.CHECK:
                self.check(word, results[places[2]], clock)
            self.drive(word, weights[places[0]], acts[places[1]])
            for stream, flag in enumerate((at.WEIGHT_NEXT, at.ACT_NEXT, at.RESULT_NEXT)):
                places[stream] += bool(word & flag)
        return len(script.control)

    def check(self, word: int, result: int, clock: int) -> None:
        """Outputs are registers: in the middle of a clock they are what its edge samples."""
        dut = self.dut
        shown = {
            at.WEIGHT_READY: dut.s_axis_weight_tready_o,
            at.ACT_READY: dut.s_axis_act_tready_o,
            at.RESULT_VALID: dut.m_axis_result_tvalid_o,
        }
        for flag, port in shown.items():
            assert int(port.value) == bool(word & flag), (clock, port._name)
        if word & at.RESULT_VALID:
            got = dut.m_axis_result_tdata_o.value.to_unsigned()
            assert got == result, (clock, hex(got), hex(result))
            assert int(dut.m_axis_result_tlast_o.value) == bool(word & at.RESULT_LAST), clock

    def drive(self, word: int, weight: int, act: int) -> None:
        """Show the beats; what is not valid is something else."""
        dut = self.dut
        dut.aresetn_i.value = int(bool(word & at.RST_N))
        dut.m_axis_result_tready_i.value = int(bool(word & at.TAKES))
        self.stream("weight", bool(word & at.WEIGHT_VALID), weight, SIDE_BITS)
        self.stream("act", bool(word & at.ACT_VALID), act, 0)

    def stream(self, name: str, is_valid: bool, beat: int, side_bits: int) -> None:
        """A stream's ports; of a beat the last bit is highest, then the side band."""
        port = {part: getattr(self.dut, f"s_axis_{name}_t{part}_i") for part in ("valid", "data")}
        bits = len(port["data"])
        beat ^= 0 if is_valid else (1 << (bits + side_bits + 1)) - 1
        port["valid"].value = int(is_valid)
        port["data"].value = beat & (1 << bits) - 1
        getattr(self.dut, f"s_axis_{name}_tlast_i").value = beat >> (bits + side_bits) & 1
        if side_bits:
            self.dut.s_axis_weight_tuser_i.value = beat >> bits & (1 << side_bits) - 1
