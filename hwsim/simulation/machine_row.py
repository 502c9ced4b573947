"""A machine as one row of numbers, for the cost function; by part, since parts vary alone."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TypeAlias

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.parts import DATAFLOWS, SHARING, Buffer
from hwsim.machines.process import core_factors, memory_factors
from hwsim.machines.sram import sram_cost
from hwsim.simulation.records import MACHINE, Record, rows

Fields: TypeAlias = dict[str, float]


def fields(machine: Accelerator) -> dict[str, Fields]:
    """Return the numbers of a machine's row, by the part of the machine that they follow from.

    Raises:
        RequestError: buffers that no bank is known for.
    """
    return {
        "tiles": _tiles(machine),
        "pe": _pe(machine),
        "weight_buffer": _buffer("weight", machine.weight_buffer),
        "activation_buffer": _buffer("input", machine.activation_buffer),
        "vector": _vector(machine),
        "dram": _dram(machine),
        "links": _links(machine),
        "process": _process(machine),
        "loops": {
            "dataflow": DATAFLOWS.index(machine.dataflow),
            "fuses": machine.fuses_attention,
            "skips": machine.skips_masked,
        },
    }


@lru_cache(maxsize=256)
def machine_row(machine: Accelerator) -> Record:
    """Return a machine's row (``records.MACHINE``).

    Raises:
        RequestError: buffers that no bank is known for.
    """
    table = rows(MACHINE, 1)
    for part in fields(machine).values():
        for key, value in part.items():
            table[key] = value
    table.setflags(write=False)
    return table[0]


def _tiles(machine: Accelerator) -> Fields:
    tiles = machine.tiles
    return {
        "count": tiles.count,
        "rows": tiles.rows,
        "columns": tiles.columns,
        "sharing": SHARING.index(tiles.sharing),
    }


def _pe(machine: Accelerator) -> Fields:
    pe, power = machine.pe, machine.layout.power.value
    return {
        "lanes": pe.lanes,
        "step_j": pe.step_j.value * power,
        "idle_share": pe.idle_share.value,
        "pe_leakage_w": pe.leakage_w.value * power,
        "pe_area_um2": pe.area_um2.value * machine.layout.area.value,
    }


def _buffer(name: str, buffer: Buffer) -> Fields:
    cost = sram_cost(buffer)
    return {
        f"{name}_bytes": buffer.bytes,
        f"{name}_port": buffer.port_bits,
        f"{name}_read_j": cost.read_j / buffer.port_bits,
        f"{name}_write_j": cost.write_j / buffer.port_bits,
        f"{name}_leakage_w": cost.leakage_w,
        f"{name}_area_um2": cost.area_um2,
    }


def _vector(machine: Accelerator) -> Fields:
    vector = machine.vector
    return {
        "vector_lanes": vector.lanes,
        "special_operations": vector.special_operations.value,
        "operation_j": vector.operation_j.value,
        "vector_leakage_w": vector.lanes * vector.leakage_w.value,
        "vector_area_um2": vector.lanes * vector.area_um2.value,
    }


def _dram(machine: Accelerator) -> Fields:
    dram = machine.dram
    return {
        "dram_bytes_per_s": dram.bytes_per_s.value,
        "dram_j": dram.joule_per_bit.value * 8,
        "dram_latency_s": dram.latency_s.value,
        "dram_background_w": 0.0 if dram.background_w is None else dram.background_w.value,
    }


def _process(machine: Accelerator) -> Fields:
    core, memory = core_factors(machine.process), memory_factors(machine.process)
    found = {f"core_{key}": value for key, value in core._asdict().items()}
    found |= {f"memory_{key}": value for key, value in memory._asdict().items()}
    fastest = math.inf if machine.process is None else machine.process.most_clock_hz
    return found | {"clock_hz": machine.clock_hz.value, "most_clock_hz": fastest}


def _links(machine: Accelerator) -> Fields:
    links = machine.links
    if links is None:
        return {"link_bytes_per_s": 0.0, "link_j": 0.0, "link_latency_s": 0.0}
    return {
        "link_bytes_per_s": links.bytes_per_s.value,
        "link_j": links.joule_per_bit.value * 8,
        "link_latency_s": links.latency_s.value,
    }
