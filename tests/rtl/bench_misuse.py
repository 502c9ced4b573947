"""Misuse of every protocol: each test must be ended by an assertion, and is run alone."""

from __future__ import annotations

import cocotb

from hwsim.tile.side_band import SideBand, format_id
from tests.rtl.bench import Dut, clock, reset, settle

INT4, FP4, INT4_ASYM, INT3 = map(format_id, ("int4", "fp4", "int4-asym", "int3"))
"""Formats; the tile does not take the last, and cannot correct the one before."""


async def clocks(dut: Dut, count: int = 1) -> None:
    for _ in range(count):
        await settle()
        await clock(dut)


@cocotb.test()
async def packet_fits(dut: Dut) -> None:
    """More beats than the buffer is deep."""
    await reset(dut)
    dut.pp_valid_i.value, dut.pp_last_i.value = 1, 0
    await clocks(dut, 8)


@cocotb.test()
async def valid_is_held(dut: Dut) -> None:
    """Two packets of one beat fill the buffer; the third is shown and taken back."""
    await reset(dut)
    dut.pp_valid_i.value, dut.pp_last_i.value = 2, 2
    await clocks(dut, 4)
    dut.pp_valid_i.value = 0
    await clocks(dut, 2)


@cocotb.test()
async def pops_a_packet(dut: Dut) -> None:
    await reset(dut)
    dut.pp_pop_i.value = 1
    await clocks(dut, 2)


@cocotb.test()
async def format_is_served(dut: Dut) -> None:
    await reset(dut)
    dut.ss_valid_i.value, dut.ss_blocks_i.value, dut.ss_steps_i.value = 1, 1, 0
    await clocks(dut, 2)


@cocotb.test()
async def group_has_blocks(dut: Dut) -> None:
    await reset(dut)
    dut.ss_valid_i.value, dut.ss_blocks_i.value, dut.ss_steps_i.value = 1, 0, 1
    await clocks(dut, 2)


@cocotb.test()
async def loads_what_is_taken(dut: Dut) -> None:
    await reset(dut)
    dut.ds_load_i.value = 1
    await clocks(dut, 2)


@cocotb.test()
async def takes_when_free(dut: Dut) -> None:
    await reset(dut)
    dut.ds_take_i.value = 1
    await clocks(dut, 3)


async def drain(dut: Dut, factor: int) -> None:
    await reset(dut)
    dut.ds_factor_i.value, dut.ds_take_i.value = factor, 1
    await clocks(dut)
    dut.ds_take_i.value, dut.ds_load_i.value = 0, 1
    await clocks(dut)
    dut.ds_load_i.value = 0
    await clocks(dut, 40)


@cocotb.test()
async def factor_is_finite(dut: Dut) -> None:
    await drain(dut, 0x7F800000)


@cocotb.test()
async def factor_is_positive(dut: Dut) -> None:
    await drain(dut, 0xBF800000)


async def packets(dut: Dut, user: int, weights: int, acts: int) -> None:
    """Send a packet of zeros on both streams, with a factor of 1 and any number of beats."""
    await reset(dut)
    dut.tile_weight_user_i.value = user
    dut.tile_weight_valid_i.value = dut.tile_act_valid_i.value = 1
    dut.tile_act_data_i.value = 0
    for beat in range(max(weights, acts)):
        dut.tile_weight_valid_i.value, dut.tile_act_valid_i.value = beat < weights, beat < acts
        dut.tile_weight_last_i.value = beat == weights - 1
        dut.tile_act_last_i.value = beat == acts - 1
        dut.tile_weight_data_i.value = 0x3F800000 if beat == 1 else 0
        await clocks(dut)
    dut.tile_weight_valid_i.value = dut.tile_act_valid_i.value = 0
    await clocks(dut, 40)


def user_of(format_: int, kind: int = 0) -> int:
    """Return the side band of a final group."""
    return SideBand(format_, kind, fp16=False, final=True).word


@cocotb.test()
async def packets_agree(dut: Dut) -> None:
    await packets(dut, user_of(INT4), 4, 1)


@cocotb.test()
async def format_is_taken(dut: Dut) -> None:
    """A format that exists, but not on this tile."""
    await packets(dut, user_of(INT3), 3, 1)


@cocotb.test()
async def format_exists(dut: Dut) -> None:
    """The last number of a format."""
    await packets(dut, user_of(63), 3, 1)


@cocotb.test()
async def known_scale(dut: Dut) -> None:
    await packets(dut, user_of(INT4, 3), 3, 1)


@cocotb.test()
async def can_correct(dut: Dut) -> None:
    await packets(dut, user_of(INT4_ASYM), 3, 1)


@cocotb.test()
async def nothing_is_wrong(dut: Dut) -> None:
    """The same drive without a fault: no assertion says anything."""
    await packets(dut, user_of(FP4), 3, 1)
    await drain(dut, 0x3F800000)
