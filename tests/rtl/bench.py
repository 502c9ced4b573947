"""What the unit benches share: how many vectors, how a clock goes, how numbers become ports."""

from __future__ import annotations

import os
import random
from typing import Any, TypeAlias

import cocotb
from cocotb.triggers import Timer

Dut: TypeAlias = Any
"""cocotb's handles are dynamic."""
COUNT = int(os.environ.get("UNITS_COUNT", "10000"))
"""Vectors or clocks of each module."""
SEED = int(os.environ.get("UNITS_SEED", "1"))


def generator(name: str) -> random.Random:
    """Return random numbers of a bench's own."""
    return random.Random(f"{name} {SEED}")


def compared(name: str, count: int) -> None:
    """Say how much was compared; a bench that compared too little fails."""
    assert count >= COUNT, (name, count)
    cocotb.log.info("compared %s: %d", name, count)


async def settle() -> None:
    """Let combinational outputs follow."""
    await Timer(1, "ns")


async def clock(dut: Dut) -> None:
    """One clock edge; the inputs stay until the clock is low again."""
    dut.clk_i.value = 1
    await Timer(1, "ns")
    dut.clk_i.value = 0


async def reset(dut: Dut) -> None:
    """Two clocks of reset, with all streams silent."""
    dut.clk_i.value = dut.rst_ni.value = 0
    silent = ("ss_valid_i", "pp_valid_i", "pp_pop_i", "ds_take_i", "ds_load_i")
    for name in (*silent, "tile_weight_valid_i", "tile_act_valid_i"):
        getattr(dut, name).value = 0
    for _ in range(2):
        await settle()
        await clock(dut)
    dut.rst_ni.value = 1
    await settle()


def value(handle: Any) -> int:  # noqa: ANN401  as Dut
    """Return a port as an unsigned number."""
    return int(handle.value)


def unpacked(number: int, bits: int, count: int) -> list[int]:
    """Return the parts of a number, the lowest first."""
    return [number >> bits * index & (1 << bits) - 1 for index in range(count)]


def signed(number: int, bits: int) -> int:
    """Read a number as two's complement."""
    return number - (1 << bits) if number >> (bits - 1) else number
