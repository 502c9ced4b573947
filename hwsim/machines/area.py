"""Area of a machine by part, and what its parts leak."""

from __future__ import annotations

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.process import core_factors, memory_factors
from hwsim.machines.sram import sram_cost


def area_um2(machine: Accelerator) -> dict[str, float]:
    """Return area by part: array, buffers, vector, total; links and control are not counted."""
    core, memory = core_factors(machine.process).area, memory_factors(machine.process).area
    array = machine.tiles.pes * machine.pe.area_um2.value * machine.layout.area.value
    buffers = sum(sram_cost(buffer).area_um2 for buffer in machine.buffers)
    vector = machine.vector.lanes * machine.vector.area_um2.value
    return _with_total(array * core, buffers * memory, vector * core)


def leakage_w(machine: Accelerator) -> dict[str, float]:
    """Return leakage by part, as ``area_um2``."""
    core, memory = core_factors(machine.process).leakage, memory_factors(machine.process).leakage
    array = machine.tiles.pes * machine.pe.leakage_w.value * machine.layout.power.value
    buffers = sum(sram_cost(buffer).leakage_w for buffer in machine.buffers)
    vector = machine.vector.lanes * machine.vector.leakage_w.value
    return _with_total(array * core, buffers * memory, vector * core)


def _with_total(array: float, buffers: float, vector: float) -> dict[str, float]:
    parts = {"array": array, "buffers": buffers, "vector": vector}
    return parts | {"total": sum(parts.values())}
