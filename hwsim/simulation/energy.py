"""Energy and area of a machine, and the cycles of its memory interface."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.sram import sram_cost

if TYPE_CHECKING:
    pass


def area_um2(machine: Accelerator) -> dict[str, float]:
    """Return area by part: array, buffers, total."""
    pes = max(machine.prefill.pes, machine.decode.pes)
    buffers = (machine.weight_buffer, machine.activation_buffer)
    area = {
        "array": pes * machine.pe.area_um2.value,
        "buffers": sum(sram_cost(b.bytes, b.port_bits).area_um2 for b in buffers),
    }
    return area | {"total": sum(area.values())}


def _dram_cycles(moved: float, machine: Accelerator) -> int:
    return math.ceil(moved * 8 / machine.dram.bits_per_cycle.value)


def _compute_j(cycles: int, pes: int, machine: Accelerator) -> float:
    """Every PE is charged for every cycle of the array, used or not."""
    power = machine.pe.power_w.value * machine.pe.layout_factor.value
    return cycles * pes * power / machine.clock_hz.value


def _access(machine: Accelerator, which: str, read_bits: float, written_bits: float) -> float:
    """Energy of the accesses of a port's width that reading and writing so many bits takes."""
    buffer = machine.weight_buffer if which == "weight" else machine.activation_buffer
    cost = sram_cost(buffer.bytes, buffer.port_bits)
    return (read_bits * cost.read_j + written_bits * cost.write_j) / buffer.port_bits
