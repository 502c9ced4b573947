"""The ways to run a product that no other beats in clocks on the chip and in bytes; compiled.

They hold for any bandwidth and energy of the memory, so that a sweep over those looks here again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwsim.simulation.clocks import OUTPUTS, Grid, Load, ceil_div, load, seen
from hwsim.simulation.mapping import (
    INPUTS,
    PARTIAL_BITS,
    SHARE,
    WEIGHTS,
    Mapping,
    Quanta,
    allowed,
    cut,
    fused,
    moved,
    parts_after,
    quanta,
    staging,
    whole,
)
from hwsim.simulation.records import Misfit, Record
from quant.common.jit import jit

MOST_WAYS = 64
"""Ways of one product that are kept."""
NO_WEIGHTS, NO_INPUTS = int(Misfit.WEIGHTS), int(Misfit.INPUTS)


class Span(NamedTuple):
    """Clocks in which a byte crosses the memory interface: at the fastest, and at the slowest."""

    fastest: float
    slowest: float


ANY_BANDWIDTH = Span(0.0, np.inf)


@jit
def staying(op: Record, machine: Record) -> int:
    """Return which scores stay on the chip (``Scores``).

    A block of rows of them must fit its share of the input buffer, its queries and their results
    the other, and two groups of keys or values of a tile's outputs the weight buffer.
    """
    if op["scores"] == 0 or machine["fuses"] == 0:
        return 0
    columns, room = machine["columns"], SHARE * machine["input_bytes"] * 8
    results = 2.0 * columns * machine["rows"] * 16.0
    fits = op["score_bits"] * columns <= room and op["query_bits"] * columns + results <= room
    keys = 2.0 * machine["rows"] * op["key_bits"] <= machine["weight_bytes"] * 8
    return int(op["scores"]) if fits and keys else 0


@jit
def fill(op: Record, machine: Record, grid: Grid, found: Load, way: Mapping, out: Record) -> None:
    """Write a way to run a product into a row."""
    batch = float(op["batch"])
    results = batch * op["m"] * op["n"]
    outputs = results * op["output_bits"]
    sums = results * PARTIAL_BITS * max(0, way.k_parts - 1)
    weights_read = batch * found.weights * op["held_bits"]
    weights_written = op["weight_bytes"] * 8 * way.weights
    inputs_read = batch * found.inputs * op["input_bits"] + outputs + sums
    inputs_written = op["input_bytes"] * 8 * way.inputs + outputs + sums
    out["weight_port"] = max(weights_read, weights_written) / machine["weight_port"]
    out["input_port"] = max(inputs_read, inputs_written) / machine["input_port"]
    out["compute"] = found.clocks
    out["clocks"] = max(found.clocks, out["weight_port"], out["input_port"])
    out["bytes"] = way.bytes
    out["steps"] = batch * found.steps * op["steps"]
    out["sram_j"] = (
        weights_read * machine["weight_read_j"]
        + weights_written * machine["weight_write_j"]
        + inputs_read * machine["input_read_j"]
        + inputs_written * machine["input_write_j"]
    )
    out["outputs"], out["tokens"], out["products"] = grid.outputs, grid.tokens, grid.products
    out["order"], out["m_parts"] = way.order, way.m_parts
    out["n_parts"], out["k_parts"] = way.n_parts, way.k_parts
    out["weights"], out["inputs"], out["spilled"] = way.weights, way.inputs, way.spilled


@jit
def hopeless(ways: Record, count: int, clocks: float, crossed: float, span: Span) -> bool:
    """Return whether no way of at least so many clocks and bytes is of use.

    One is there that is nowhere worse; or one that is as fast at all bandwidths of ``span``: its
    bytes take no longer than these clocks at the slowest, or its clocks no longer than these bytes
    at the fastest.
    """
    for i in range(count):
        own, bytes_ = ways[i]["clocks"], ways[i]["bytes"]
        if own <= clocks and bytes_ <= crossed:
            return True
        if own < clocks and bytes_ * span.slowest < clocks:
            return True
        if bytes_ < crossed and own < crossed * span.fastest:
            return True
    return False


@jit
def insert(ways: Record, count: int, span: Span) -> int:
    """Keep the last row if it is of use, drop those that it beats; return how many there are."""
    spare = len(ways) - 1
    clocks, crossed = ways[spare]["clocks"], ways[spare]["bytes"]
    if hopeless(ways, count, clocks, crossed, span):
        return count
    kept = 0
    for i in range(count):
        if not (clocks <= ways[i]["clocks"] and crossed <= ways[i]["bytes"]):
            ways[kept] = ways[i]
            kept += 1
    if kept < spare:
        ways[kept] = ways[spare]
        kept += 1
    return kept


@jit
def on_grid(
    op: Record,
    machine: Record,
    grid: Grid,
    stay: int,
    ways: Record,
    count: int,
    span: Span,
    cuts: bool,
) -> int:
    """Add the ways of one grid of tiles; return how many there are.

    Args:
        op: Its row.
        machine: Its row.
        grid: The tiles.
        stay: Which scores stay on the chip.
        ways: As ``search``'s.
        count: Ways that there are.
        span: As ``search``'s.
        cuts: Whether jobs may be cut.
    """
    spare = len(ways) - 1
    least = moved(op, stay, 1, 1, 0)
    if hopeless(ways, count, under(op, machine, grid), least, span):
        return count
    found: Load = load(op, machine, grid, op["k"])
    if hopeless(ways, count, found.least, least, span):
        return count
    q: Quanta = quanta(op, machine, grid)
    if stay != 0:
        way: Mapping = fused(op, machine, q, grid.products, stay)
        if way.bytes >= 0:
            fill(op, machine, grid, found, way, ways[spare])
            count = insert(ways, count, span)
        return count
    for order in (INPUTS, WEIGHTS):
        if allowed(machine["dataflow"], order):
            way = whole(op, q, order)
            if way.bytes >= 0:
                fill(op, machine, grid, found, way, ways[spare])
                count = insert(ways, count, span)
    k_parts = parts_after(q.k, 1) if cuts else q.k + 1
    while k_parts <= q.k and not hopeless(ways, count, found.least, least, span):
        pieces: Load = load(op, machine, grid, ceil_div(q.k, k_parts) * q.of_k)
        if not hopeless(ways, count, pieces.clocks, least, span):
            way = cut(op, q, machine["dataflow"], k_parts)
            if way.bytes >= 0:
                fill(op, machine, grid, pieces, way, ways[spare])
                count = insert(ways, count, span)
        k_parts = parts_after(q.k, k_parts)
    return count


@jit
def under(op: Record, machine: Record, grid: Grid) -> float:
    """Return clocks that no mask lets a grid be under, without a look at its blocks of tokens.

    The steps of all that is seen, evenly over the tiles.
    """
    pairs = float(op["m"]) * op["n"] * op["k"]
    if op["mask"] != 0 and machine["skips"] != 0:
        first, last = seen(op, 0, 0), seen(op, op["m"] - 1, op["m"] - 1)
        other = op["k"] if op["mask"] == OUTPUTS else op["n"]
        pairs = op["m"] * (first + last - 1) / 2.0 * other  # the last token's rows may be few
        if op["window"] > 0:  # what is seen rises to the window, then stays
            pairs = float(op["m"]) * min(first, last) * other
    tiles = grid.outputs * grid.tokens * machine["rows"] * machine["columns"] * machine["lanes"]
    return float(ceil_div(op["batch"], grid.products) * pairs / tiles * op["steps"])


@jit
def search(op: Record, machine: Record, ways: Record, span: Span) -> int:
    """Find the ways of a product on a machine, over all grids of tiles; the largest first.

    Args:
        op: Its row.
        machine: Its row.
        ways: ``[MOST_WAYS + 1]`` rows that are written.
        span: Bandwidths of the memory: ways that are the best at none of them are not looked for.

    Returns:
        How many there are; 0: no buffer holds the smallest part.
    """
    stay = staying(op, machine)
    masked = op["mask"] != 0 and machine["skips"] != 0
    blocks_n, blocks_m = ceil_div(op["n"], machine["rows"]), ceil_div(op["m"], machine["columns"])
    most_outputs = 1 if machine["sharing"] == 2 else min(machine["count"], blocks_n)
    count = 0
    for outputs in range(most_outputs, 0, -1):
        if idle(blocks_n, outputs) and not (masked and op["mask"] == OUTPUTS):
            continue  # more tiles for nothing
        left = machine["count"] // outputs
        most_tokens = 1 if machine["sharing"] == 1 else min(left, blocks_m)
        for tokens in range(most_tokens, 0, -1):
            if idle(blocks_m, tokens) and not masked:
                continue
            for products in range(min(left // tokens, op["batch"]), 0, -1):
                if not idle(op["batch"], products):
                    grid = Grid(outputs, tokens, products)
                    count = on_grid(op, machine, grid, stay, ways, count, span, True)
    return count


@jit
def idle(count: int, tiles: int) -> bool:
    """Return whether one tile less would take as many of so many blocks at most."""
    return tiles > 1 and ceil_div(count, tiles) == ceil_div(count, tiles - 1)


@jit
def misfit(op: Record, machine: Record) -> tuple[int, float]:
    """Return which buffer does not hold the smallest part of a product, and the bytes it needs."""
    q: Quanta = quanta(op, machine, Grid(1, 1, 1))
    weights = 2.0 * q.of_n * q.of_k * op["held_bits"]
    if weights > q.weight_room:
        return NO_WEIGHTS, weights / 8
    return NO_INPUTS, (2.0 * q.of_m * q.of_k * op["input_bits"] + staging(op, q)) / 8
