"""Clocks of a product on a machine's tiles, in closed form; compiled.

A product ``[m, k] x [k, n]`` is cut into jobs of ``rows`` outputs and ``columns`` tokens. ``outputs
x tokens x products`` tiles take them side by side; the tile with the most sets the time.
"""

from __future__ import annotations

from typing import NamedTuple

from hwsim.machines.elements.timing import Law
from hwsim.simulation.records import Mask, Record
from hwsim.tile.layer import total
from quant.common.jit import jit

STREAM, SYSTOLIC = int(Law.STREAM), int(Law.SYSTOLIC)
OUTPUTS, REDUCTION = int(Mask.OUTPUTS), int(Mask.REDUCTION)


class Grid(NamedTuple):
    """How many tiles a product takes along its outputs, tokens, and products."""

    outputs: int
    tokens: int
    products: int


class Load(NamedTuple):
    """What one product of a grid asks for.

    Attributes:
        clocks: Of the tile with the most jobs, all products.
        least: Clocks of its steps alone, which no way to cut jobs is under.
        weights: Weights read from the buffer, one product; tiles that share them read once.
        inputs: Inputs read, one product.
        steps: Blocks x outputs x tokens that elements work for, one product; padding apart.
    """

    clocks: float
    least: float
    weights: float
    inputs: float
    steps: float


@jit
def ceil_div(a: int, b: int) -> int:
    """Return ``a / b`` rounded up."""
    return -(-a // b)


@jit
def job_clocks(op: Record, machine: Record, jobs: int, k: int) -> float:
    """Return the clocks of jobs of ``k`` inputs on one tile, one after the other."""
    blocks = ceil_div(k, machine["lanes"])
    if op["law"] == STREAM:
        return float(jobs * (blocks * op["steps"]))
    if op["law"] == SYSTOLIC:
        fill = machine["rows"] + machine["columns"] - 2
        return float(jobs * (blocks * op["steps"] + fill))
    size = op["size"]
    groups = ceil_div(k, size)
    last = k - (groups - 1) * size
    most, least = ceil_div(min(size, k), machine["lanes"]), ceil_div(last, machine["lanes"])
    drain, end, steps = op["group_clocks"], op["job_clocks"], int(op["steps"])
    clocks = float(total(jobs, groups, most, least, steps, drain, end))
    if steps == op["steps"]:
        return clocks
    # A mean between two whole numbers: along the line from above, until the drain binds as below.
    above = float(total(jobs, groups, most, least, steps + 1, drain, end))
    further = float(total(jobs, groups, most, least, steps + 2, drain, end))
    mean: float = above - (steps + 1 - op["steps"]) * (further - above)
    return max(clocks, mean)


@jit
def cut_clocks(op: Record, machine: Record, jobs: int, k: int, part: int) -> float:
    """Return the clocks of jobs that are cut into parts of ``part`` inputs, partial sums kept."""
    if part >= k:
        return job_clocks(op, machine, jobs, k)
    whole = k // part
    clocks = job_clocks(op, machine, jobs * whole, part)
    if k > whole * part:
        clocks += job_clocks(op, machine, jobs, k - whole * part)
    return clocks


@jit
def seen(op: Record, first: int, last: int) -> int:
    """Return how many keys the rows ``first`` to ``last`` of m see together."""
    high = op["past"] + last // op["shared"] + 1
    low = 0
    if op["window"] > 0:
        low = max(0, op["past"] + first // op["shared"] + 1 - op["window"])
    return int(high - low)


@jit
def load(op: Record, machine: Record, grid: Grid, part: int) -> Load:
    """Return what a product takes on a grid of tiles, jobs cut into parts of ``part`` inputs.

    Blocks of tokens go round by round, ``grid.tokens`` of them at a time; the longest of a round
    sets its time, and all that one of its blocks sees is read for it once.
    """
    rows, columns = machine["rows"], machine["columns"]
    products = ceil_div(op["batch"], grid.products)
    along_m = ceil_div(op["m"], columns)
    m, n, k = op["m"], op["n"], op["k"]
    if op["mask"] == 0 or machine["skips"] == 0:
        along_n = ceil_div(ceil_div(n, rows), grid.outputs)
        rounds = ceil_div(along_m, grid.tokens)
        jobs, blocks = products * along_n * rounds, ceil_div(k, machine["lanes"])
        clocks = cut_clocks(op, machine, jobs, k, part)
        least = float(jobs * (blocks * op["steps"]))
        steps = float(m) * n * blocks
        return Load(clocks, least, float(n) * k * rounds, float(m) * k * along_n, steps)
    clocks, least, weights, inputs, steps = 0.0, 0.0, 0.0, 0.0, 0.0
    known_jobs, known_k, known = 0, 0, 0.0
    for first_block in range(0, along_m, grid.tokens):
        end_block = min(first_block + grid.tokens, along_m)
        longest, shortest = 0.0, 0.0
        for block in range(first_block, end_block):
            first, last = block * columns, min((block + 1) * columns, m) - 1
            visible = seen(op, first, last)
            seen_n = visible if op["mask"] == OUTPUTS else n
            seen_k = visible if op["mask"] == REDUCTION else k
            along_n = ceil_div(ceil_div(seen_n, rows), grid.outputs)
            blocks = ceil_div(seen_k, machine["lanes"])
            jobs = products * along_n
            if op["window"] > 0 or block == end_block - 1:  # causal: the last block sees the most
                if jobs != known_jobs or seen_k != known_k:
                    known_jobs, known_k = jobs, seen_k
                    known = cut_clocks(op, machine, jobs, seen_k, part)
                longest = max(longest, known)
            shortest = max(shortest, float(jobs * (blocks * op["steps"])))
            inputs += float(last - first + 1) * seen_k * along_n
            steps += float(last - first + 1) * seen_n * blocks
        clocks, least = clocks + longest, least + shortest
        union = seen(op, first_block * columns, min(end_block * columns, m) - 1)
        weights += float(union) * (k if op["mask"] == OUTPUTS else n)
    return Load(clocks, least, weights, inputs, steps)
