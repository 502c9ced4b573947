"""Area of a machine by part, and what its parts leak."""

from __future__ import annotations

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.sram import sram_cost


def area_um2(machine: Accelerator) -> dict[str, float]:
    """Return area by part: array, buffers, vector, total; links and control are not counted."""
    area = {
        "array": machine.tiles.pes * machine.pe.area_um2.value * machine.layout.area.value,
        "buffers": sum(sram_cost(buffer).area_um2 for buffer in machine.buffers),
        "vector": machine.vector.lanes * machine.vector.area_um2.value,
    }
    return area | {"total": sum(area.values())}


def leakage_w(machine: Accelerator) -> dict[str, float]:
    """Return leakage by part, as ``area_um2``."""
    leakage = {
        "array": machine.tiles.pes * machine.pe.leakage_w.value * machine.layout.power.value,
        "buffers": sum(sram_cost(buffer).leakage_w for buffer in machine.buffers),
        "vector": machine.vector.lanes * machine.vector.leakage_w.value,
    }
    return leakage | {"total": sum(leakage.values())}
