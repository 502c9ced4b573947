"""Energy and area of a machine, and the cycles of its memory interface."""

from __future__ import annotations

import math

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.parts import Buffer
from hwsim.machines.sram import sram_cost


def area_um2(machine: Accelerator) -> dict[str, float]:
    """Return area by part: array, buffers, total."""
    pes = max(machine.prefill.pes, machine.decode.pes)
    buffers = (machine.weight_buffer, machine.activation_buffer)
    area = {
        "array": pes * machine.pe.area_um2.value,
        "buffers": sum(sram_cost(b.bytes, b.port_bits).area_um2 for b in buffers),
    }
    return area | {"total": sum(area.values())}


def dram_cycles(machine: Accelerator, moved_bytes: float) -> int:
    """Return the cycles that the memory interface takes to move so many bytes."""
    return math.ceil(moved_bytes * 8 / machine.dram.bits_per_cycle.value)


def dram_energy_j(machine: Accelerator, moved_bytes: float) -> float:
    """Return the joules that moving so many bytes takes."""
    return moved_bytes * 8 * machine.dram.joule_per_bit.value


def array_energy_j(machine: Accelerator, cycles: int, pes: int) -> float:
    """Return the joules of an array: every PE is charged for every cycle, used or not."""
    return machine.pe.energy_j(cycles * pes, machine.clock_hz.value)


def buffer_energy_j(buffer: Buffer, read_bits: float, written_bits: float) -> float:
    """Return the joules of the accesses, each as wide as the port, that so many bits take."""
    cost = sram_cost(buffer.bytes, buffer.port_bits)
    return (read_bits * cost.read_j + written_bits * cost.write_j) / buffer.port_bits
