"""Buffers and memories of machines, their costs, and machines of one area or power."""

from __future__ import annotations

from dataclasses import replace

import pytest

import roofline
from hwsim.compat.bitmod_hpca25 import facts
from hwsim.machines.area import area_um2
from hwsim.machines.dram import dram_types, named_dram
from hwsim.machines.load import accelerator_names, load_accelerator
from hwsim.machines.parts import Buffer
from hwsim.machines.solve import at_area, at_power
from hwsim.machines.sram import sram_cost, sram_table
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common.errors import RequestError
from quant.common.sourced import Sourced


def test_buffers_cost_what_the_published_simulator_ran() -> None:
    # Eleven ports of 512 KiB in 8 banks, as BitMoD ran CACTI.
    for port, read, write in facts().sram:
        if port / 8 not in (16, 32, 64, 128):
            continue  # between the table's widths
        cost = sram_cost(Buffer(524288, port, 8))
        assert (cost.read_j, cost.write_j) == pytest.approx((read * 1e-12, write * 1e-12), rel=1e-4)
    between = sram_cost(Buffer(524288, 1536, 8))
    assert between.read_j == pytest.approx(182.818e-12, rel=sram_table().error["read"])


def test_a_buffer_is_its_banks() -> None:
    one, eight = sram_cost(Buffer(65536, 64, 1)), sram_cost(Buffer(524288, 512, 8))
    for key in ("read_j", "write_j", "leakage_w", "area_um2"):
        assert getattr(eight, key) == pytest.approx(8 * getattr(one, key))
    # Inside the table nothing is far from its neighbours.
    for size in (3000, 40_000, 700_000):
        costs = [sram_cost(Buffer(size, width, 1)).area_um2 for width in (32, 48, 64)]
        assert costs[0] <= costs[1] * 1.3
        assert costs[1] <= costs[2] * 1.3


@pytest.mark.parametrize("name", dram_types())
def test_a_memory_is_slower_than_its_pins_and_no_clock_changes_it(name: str) -> None:
    kind, four = dram_types()[name], named_dram(f"{name}*4")
    assert 0.85 < four.bytes_per_s.value / (4 * kind.peak) < 1
    assert 1e-12 < four.joule_per_bit.value < 2e-11
    assert four.capacity_bytes is not None
    machine = replace(load_accelerator("bitmod"), dram=four)
    for clock in (1e8, 4e9):
        at = replace(machine, clock_hz=Sourced(clock, "test"))
        assert at.hardware_spec().memory_bandwidth == four.bytes_per_s


def test_iso_area_and_iso_power_are_solved() -> None:
    fp16 = load_accelerator("fp16")
    wanted = area_um2(fp16)["array"]
    for name in accelerator_names():
        found = at_area(load_accelerator(name), wanted, "array")
        # What the file ships with is what the solver finds.
        assert found == load_accelerator(name)
        assert area_um2(found)["array"] == pytest.approx(wanted, rel=0.022)
    with pytest.raises(RequestError, match=r"1 tiles give .* um2"):
        at_area(load_accelerator("bitmod"), 1e5)
    formats = machine_formats(load_accelerator("bitmod"))
    work = roofline.workload("smollm2-135m", "prefill", 1, 64, **formats)
    watts = simulate(work, load_accelerator("bitmod")).power_w
    found = at_power(load_accelerator("bitmod"), lambda m: simulate(work, m).power_w, watts)
    assert found.tiles.count == 13
