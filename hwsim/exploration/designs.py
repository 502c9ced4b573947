"""Many designs through the cost function at once; compiled, on all threads."""

from __future__ import annotations

import math

import numpy as np
from numba import prange

from hwsim.simulation.clocks import Grid, ceil_div
from hwsim.simulation.cost import area, cost
from hwsim.simulation.records import COST, WAY, Record
from hwsim.simulation.ways import ANY_BANDWIDTH, MOST_WAYS, Span, misfit, on_grid, search, staying
from quant.common.jit import jit, parallel

BLOCK = 256
"""Designs that one thread takes at a time."""


@jit
def same_ways(a: Record, b: Record) -> bool:
    """Return whether two machines run products in the same ways, whatever their memory."""
    return bool(
        a["lanes"] == b["lanes"]
        and a["rows"] == b["rows"]
        and a["columns"] == b["columns"]
        and a["count"] == b["count"]
        and a["sharing"] == b["sharing"]
        and a["dataflow"] == b["dataflow"]
        and a["fuses"] == b["fuses"]
        and a["skips"] == b["skips"]
        and a["weight_bytes"] == b["weight_bytes"]
        and a["weight_port"] == b["weight_port"]
        and a["weight_read_j"] == b["weight_read_j"]
        and a["weight_write_j"] == b["weight_write_j"]
        and a["input_bytes"] == b["input_bytes"]
        and a["input_port"] == b["input_port"]
        and a["input_read_j"] == b["input_read_j"]
        and a["input_write_j"] == b["input_write_j"]
    )


@jit
def span_of(machines: Record, first: int, end: int) -> Span:
    """Return the bandwidths of some machines."""
    fastest, slowest = math.inf, 0.0
    for i in range(first, end):
        here = machines[i]["clock_hz"] / machines[i]["dram_bytes_per_s"]
        fastest, slowest = min(fastest, here), max(slowest, here)
    return Span(fastest, slowest)


@jit
def by_rule(op: Record, machine: Record, ways: Record) -> int:
    """Find the ways of the plain rule: tiles along outputs first, then tokens, then products.

    Jobs are whole, loops the better of two. Returns how many ways there are; 0: use ``search``.
    """
    blocks_n, blocks_m = ceil_div(op["n"], machine["rows"]), ceil_div(op["m"], machine["columns"])
    outputs = 1 if machine["sharing"] == 2 else min(machine["count"], blocks_n)
    left = machine["count"] // outputs
    tokens = 1 if machine["sharing"] == 1 else min(left, blocks_m)
    grid = Grid(outputs, tokens, min(left // tokens, op["batch"]))
    return int(on_grid(op, machine, grid, staying(op, machine), ways, 0, ANY_BANDWIDTH, False))


@jit
def block_costs(
    machines: Record,
    variants: Record,
    first: int,
    end: int,
    ops: Record,
    bounds: Record,
    searched: bool,
    out: Record,
) -> None:
    """Write the results of designs ``first`` to ``end``; see ``run_designs``."""
    longest = 0
    for variant in range(len(bounds)):
        longest = max(longest, bounds[variant, -1] - bounds[variant, 0])
    ways = np.zeros((longest, MOST_WAYS + 1), WAY)
    counts = np.zeros(longest, np.int64)
    found = np.zeros(1, COST)
    fresh = first  # up to here the ways that are kept hold
    for i in range(first, end):
        machine, variant = machines[i], variants[i]
        base = bounds[variant, 0]
        if i >= fresh:
            fresh = i + 1
            while (
                fresh < end and variants[fresh] == variant and same_ways(machine, machines[fresh])
            ):
                fresh += 1
            keeps = fresh - i > 1
            span = span_of(machines, i, fresh)
            renew = True
        out[i, 0] = area(machine)
        for work in range(bounds.shape[1] - 1):
            time, energy = 0.0, 0.0
            for row in range(bounds[variant, work], bounds[variant, work + 1]):
                op, at = ops[row], row - base
                if op["product"] and (renew or not keeps):
                    counts[at] = 0
                    if not searched:
                        counts[at] = by_rule(op, machine, ways[at])
                    if counts[at] == 0:
                        counts[at] = search(op, machine, ways[at], span)
                if op["product"] and counts[at] == 0:
                    out[i, 1] = misfit(op, machine)[0]
                    time, energy = math.inf, math.inf
                    continue
                cost(op, machine, ways[at], counts[at], found[0])
                parts = found[0]["compute_j"] + found[0]["sram_j"] + found[0]["vector_j"]
                parts += found[0]["dram_j"] + found[0]["link_j"] + found[0]["leakage_j"]
                time += op["repeats"] * found[0]["cycles"]
                energy += op["repeats"] * parts
            out[i, 2 + 2 * work] = time / machine["clock_hz"]
            out[i, 3 + 2 * work] = energy
        renew = False


@parallel
def run_designs(
    machines: Record,
    variants: Record,
    ops: Record,
    bounds: Record,
    searched: bool,
    out: Record,
) -> None:
    """Write area, misfit, and time and energy of each work, of every design.

    Args:
        machines: ``[designs]`` of ``MACHINE``.
        variants: ``[designs]``: which rows of ops each runs.
        ops: Rows of ``OP`` of all variants; ``repeats`` is of the whole work.
        bounds: ``[variants, works + 1]``: where the rows of each work begin, and the last end.
        searched: Whether the best mapping is looked for; else that of ``by_rule``.
        out: ``[designs, 2 + 2 * works]``, written.
    """
    blocks = (len(machines) + BLOCK - 1) // BLOCK
    for block in prange(blocks):
        first = block * BLOCK
        end = min(first + BLOCK, len(machines))
        block_costs(machines, variants, first, end, ops, bounds, searched, out)
