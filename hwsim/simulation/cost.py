"""cost(): what one row of an op takes on one machine; compiled, for simulations and sweeps."""

from __future__ import annotations

import math

from hwsim.simulation.records import Record, Scores
from hwsim.simulation.ways import staying
from quant.common.jit import jit

BOTH = int(Scores.BOTH)


@jit
def pick(ways: Record, count: int, clocks_per_byte: float) -> int:
    """Return the fastest way at a bandwidth; the one that moves least among equals."""
    best, cycles = 0, math.inf
    for i in range(count):
        here = max(ways[i]["clocks"], math.ceil(ways[i]["bytes"] * clocks_per_byte))
        if here < cycles or (here == cycles and ways[i]["bytes"] < ways[best]["bytes"]):
            best, cycles = i, here
    return best


@jit
def elements(machine: Record) -> int:
    """Return the processing elements of a machine."""
    return int(machine["count"] * machine["rows"] * machine["columns"])


@jit
def leakage(machine: Record) -> float:
    """Return the leakage of a chip, W."""
    memories = machine["weight_leakage_w"] + machine["input_leakage_w"]
    core = elements(machine) * machine["pe_leakage_w"] + machine["vector_leakage_w"]
    return float(core * machine["core_leakage"] + memories * machine["memory_leakage"])


@jit
def area(machine: Record) -> float:
    """Return the area of a chip, um2."""
    memories = machine["weight_area_um2"] + machine["input_area_um2"]
    core = elements(machine) * machine["pe_area_um2"] + machine["vector_area_um2"]
    return float(core * machine["core_area"] + memories * machine["memory_area"])


@jit
def cost(op: Record, machine: Record, ways: Record, count: int, out: Record) -> None:
    """Write the cost of a row of an op on a machine.

    Products and memory run side by side, as does what the vector unit does to results; a message
    over links comes after. Each op waits once for the memory's first byte.

    Args:
        op: The op's row (``records.OP``).
        machine: The machine's row.
        ways: The ways of a product that ``search`` found; unused for other ops.
        count: How many.
        out: The row that is written (``records.COST``).
    """
    clock = machine["clock_hz"]
    clocks_per_byte = clock / machine["dram_bytes_per_s"]
    out["compute"], out["weight_port"], out["input_port"] = 0.0, 0.0, 0.0
    out["compute_j"], out["sram_j"], out["way"] = 0.0, 0.0, 0
    out["on_chip"] = int(staying(op, machine) > 0)
    if op["product"]:
        out["way"] = pick(ways, count, clocks_per_byte)
        way = ways[out["way"]]
        moved = way["bytes"]
        out["compute"] = way["compute"]
        out["weight_port"], out["input_port"] = way["weight_port"], way["input_port"]
        idle = elements(machine) * way["compute"] - way["steps"]
        busy_steps = way["steps"] + machine["idle_share"] * idle
        out["compute_j"] = machine["step_j"] * busy_steps * machine["core_energy"]
        out["sram_j"] = way["sram_j"] * machine["memory_energy"]
    elif op["scores"] == BOTH and out["on_chip"]:
        moved = 0.0
    else:
        moved = op["weight_bytes"] + op["input_bytes"] + op["output_bytes"]
    work = op["operations"] + op["specials"] * machine["special_operations"]
    out["vector"] = math.ceil(work / machine["vector_lanes"])
    out["vector_j"] = work * machine["operation_j"] * machine["core_energy"]
    out["dram_bytes"] = moved
    out["dram"] = math.ceil(moved * clocks_per_byte)
    out["dram_j"] = moved * machine["dram_j"]
    out["link"], out["link_j"] = 0.0, 0.0
    if op["link_bytes"] > 0:
        seconds = op["link_bytes"] / machine["link_bytes_per_s"]
        out["link"] = math.ceil((seconds + op["messages"] * machine["link_latency_s"]) * clock)
        out["link_j"] = op["link_bytes"] * machine["link_j"]
    busy = max(out["compute"], out["weight_port"], out["input_port"], out["vector"], out["dram"])
    wait = math.ceil(machine["dram_latency_s"] * clock) if moved > 0 else 0
    out["cycles"] = math.ceil(busy) + wait + out["link"]
    seconds = out["cycles"] / clock
    out["leakage_j"] = seconds * leakage(machine)
    out["dram_j"] += seconds * machine["dram_background_w"]
