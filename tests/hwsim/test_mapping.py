"""The mapping: what crosses the memory interface, by walking loops; the search, by trying all."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from math import ceil, inf
from pathlib import Path

import numpy as np
import pytest

from hwsim.machines.elements.timing import Law
from hwsim.simulation.clocks import Grid, load
from hwsim.simulation.mapping import INPUTS, WEIGHTS, Order, cut, passes, quanta, whole
from hwsim.simulation.records import COST, MACHINE, OP, WAY, Record, rows
from hwsim.simulation.run import run
from hwsim.simulation.ways import ANY_BANDWIDTH, MOST_WAYS, Span, search

LOOPS = {order: order.name.lower() for order in Order if order >= Order.MNK}


def walked(order: str, counts: dict[str, int]) -> tuple[int, int, int]:
    """How often weights, inputs and partial sums cross when the loops are walked, whole operands.

    A buffer keeps one part of each operand; a part of sums that is not finished goes out when
    another comes, and back when its turn comes again.
    """
    held: dict[str, tuple[int, ...] | None] = {"nk": None, "mk": None, "mn": None}
    fetched = {"nk": 0, "mk": 0}
    sums_out = sums_in = 0
    begun: set[tuple[int, ...]] = set()
    for place in itertools.product(*(range(counts[loop]) for loop in order)):
        at = dict(zip(order, place, strict=True))
        for operand in ("nk", "mk"):
            part = tuple(at[loop] for loop in operand)
            if held[operand] != part:
                held[operand], fetched[operand] = part, fetched[operand] + 1
        part = (at["m"], at["n"])
        if held["mn"] != part:
            sums_out += held["mn"] is not None
            sums_in += part in begun
            held["mn"] = part
        begun.add(part)
    tiles = {pair: counts[pair[0]] * counts[pair[1]] for pair in ("nk", "mk", "mn")}
    # The last leaving of every part is its result's, which is counted elsewhere.
    spilled = sums_out + 1 - tiles["mn"] + sums_in
    return (
        fetched["nk"] // tiles["nk"],
        fetched["mk"] // tiles["mk"],
        spilled // tiles["mn"],
    )


@pytest.mark.parametrize("order", LOOPS)
def test_passes_are_those_of_the_walked_loops(order: Order) -> None:
    for m, n, k in itertools.product((1, 2, 3, 4), repeat=3):
        if k == 1:
            continue  # whole jobs
        found = passes(int(order), m, n, k)
        assert found == walked(LOOPS[order], {"m": m, "n": n, "k": k}), (m, n, k)


def drawn(rng: np.random.Generator, law: Law = Law.STREAM) -> tuple[Record, Record]:
    """A product and a machine of small sizes, whose buffers may not hold it."""
    op, machine = rows(OP, 1), rows(MACHINE, 1)
    size = int(rng.choice([4, 8, 16]))
    m, n, k, batch = (int(rng.integers(1, high)) for high in (60, 60, 80, 4))
    bits = float(rng.choice([3, 4.125, 16]))
    for key, value in {
        "product": 1, "batch": batch, "m": m, "n": n, "k": k, "shared": 1, "law": law,
        "steps": int(rng.integers(1, 4)), "size": size, "group_clocks": int(rng.integers(0, 40)),
        "job_clocks": int(rng.integers(0, 40)), "held_bits": bits, "input_bits": 16.0,
        "output_bits": 16.0, "weight_bytes": batch * n * k * bits / 8,
        "input_bytes": batch * m * k * 2.0, "output_bytes": batch * m * n * 2.0, "repeats": 1.0,
    }.items():  # fmt: skip
        op[key] = value
    for key, value in {
        "lanes": int(rng.choice([1, 2, 4])), "rows": int(rng.integers(1, 9)),
        "columns": int(rng.integers(1, 9)), "count": int(rng.integers(1, 12)), "skips": 1,
        "fuses": 1, "clock_hz": 1e9, "weight_bytes": int(2 ** rng.uniform(6, 13)),
        "input_bytes": int(2 ** rng.uniform(8, 14)), "weight_port": int(2 ** rng.uniform(4, 10)),
        "input_port": int(2 ** rng.uniform(4, 10)), "vector_lanes": 8,
        "special_operations": 4.0, "dram_bytes_per_s": float(10 ** rng.uniform(7, 11)),
        "step_j": 1e-12, "idle_share": 0.5, "dram_j": 1e-10,
    }.items():  # fmt: skip
        machine[key] = value
    return op[0], machine[0]


def least_cut(op: Record, machine: Record, grid: Grid, k_parts: int) -> float:
    """The fewest bytes of all sizes of parts and orders, tried one by one; infinite: none fits."""
    q = quanta(op, machine, grid)
    k = ceil(q.k / k_parts)
    best = inf
    out = 2 * q.of_m * q.of_n * op["output_bits"]
    for m, n in itertools.product(range(1, q.m + 1), range(1, q.n + 1)):
        parts = {"m": ceil(q.m / m), "n": ceil(q.n / n), "k": k_parts}
        inner_k, inner_m = min(k * q.of_k, op["k"]), min(m * q.of_m, op["m"])
        if 2 * n * q.of_n * inner_k * op["held_bits"] > q.weight_room:
            continue
        for order, name in LOOPS.items():
            weights, inputs, spilled = passes(int(order), parts["m"], parts["n"], parts["k"])
            sums = inner_m * n * q.of_n * 32 * (2 if spilled else 1)
            if 2 * inner_m * inner_k * op["input_bits"] + sums + out > q.input_room:
                continue
            sums_bytes = spilled * op["batch"] * op["m"] * op["n"] * 4.0
            crossed = op["weight_bytes"] * weights + op["input_bytes"] * inputs
            best = min(best, crossed + sums_bytes + op["output_bytes"])
            assert name
    return best


def test_cut_mappings_are_the_best_of_all() -> None:
    rng = np.random.default_rng(5)
    found = 0
    for _ in range(150):
        op, machine = drawn(rng)
        grid = Grid(int(rng.integers(1, 3)), int(rng.integers(1, 3)), 1)
        q = quanta(op, machine, grid)
        for k_parts in range(2, q.k + 1):
            if ceil(q.k / ceil(q.k / k_parts)) != k_parts:
                continue
            way = cut(op, q, 0, k_parts)
            best = least_cut(op, machine, grid, k_parts)
            if way.bytes < 0:
                assert best == inf
            else:
                found += 1
                assert way.bytes == pytest.approx(best, rel=1e-12)
    assert found > 100


def test_whole_mappings_fit_and_move_what_their_passes_say() -> None:
    rng = np.random.default_rng(6)
    for _ in range(400):
        op, machine = drawn(rng)
        q = quanta(op, machine, Grid(1, 1, 1))
        for order in (INPUTS, WEIGHTS):
            way = whole(op, q, order)
            if way.bytes < 0:
                continue
            crossed = op["weight_bytes"] * way.weights + op["input_bytes"] * way.inputs
            assert way.bytes == pytest.approx(crossed + op["output_bytes"])
            kept, other = (
                (way.inputs, way.weights) if order == INPUTS else (way.weights, way.inputs)
            )
            parts, count = (way.m_parts, q.m) if order == INPUTS else (way.n_parts, q.n)
            assert 1 <= parts <= count
            assert other in (1, parts)
            assert kept == 1 or parts == count  # nothing is kept: both pass by


def every_way(op: Record, machine: Record) -> list[tuple[float, float]]:
    """Clocks on the chip and bytes of all grids and parts, tried one by one."""
    found = []
    count, products = int(machine["count"]), int(op["batch"])
    for outputs, tokens in itertools.product(range(1, count + 1), repeat=2):
        for grid in {
            Grid(outputs, tokens, c) for c in (1, min(count // max(1, outputs * tokens), products))
        }:
            if not 1 <= grid.outputs * grid.tokens * grid.products <= count:
                continue
            q = quanta(op, machine, grid)
            for order in (INPUTS, WEIGHTS):
                way = whole(op, q, order)
                if way.bytes >= 0:
                    found.append((load(op, machine, grid, int(op["k"])).clocks, way.bytes))
            for k_parts in range(2, q.k + 1):
                best = least_cut(op, machine, grid, k_parts)
                if best < inf:
                    part = ceil(q.k / k_parts) * q.of_k
                    found.append((load(op, machine, grid, part).clocks, best))
    return found


def test_no_grid_and_no_parts_are_faster_than_the_search() -> None:
    # Ports that never bind, so that clocks are the tiles' alone.
    rng = np.random.default_rng(7)
    ways = rows(WAY, MOST_WAYS + 1)
    for _ in range(40):
        op, machine = drawn(rng)
        op["m"], op["n"] = min(op["m"], 30), min(op["n"], 30)
        machine["count"], machine["weight_port"], machine["input_port"] = 4, 1e12, 1e12
        per_byte = machine["clock_hz"] / machine["dram_bytes_per_s"]
        all_ways = every_way(op, machine)
        count = search(op, machine, ways, Span(per_byte, per_byte))
        assert (count == 0) == (not all_ways)
        if not all_ways:
            continue
        best = min(max(clocks, bytes_ * per_byte) for clocks, bytes_ in all_ways)
        here = min(max(w["clocks"], w["bytes"] * per_byte) for w in ways[:count])
        assert here == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("large", [False, True])
def test_one_search_serves_all_bandwidths(large: bool) -> None:
    rng = np.random.default_rng(8)
    every, one = rows(WAY, MOST_WAYS + 1), rows(WAY, MOST_WAYS + 1)
    for _ in range(400):
        op, machine = drawn(rng, Law(int(rng.integers(3))))
        if large:  # groups that hardly divide, drains that show
            op["k"], op["n"] = int(rng.integers(100, 3000)), int(rng.integers(20, 900))
            op["group_clocks"], op["size"] = (
                int(rng.integers(0, 400)),
                int(rng.choice([16, 32, 128])),
            )
            machine["weight_bytes"], machine["input_bytes"] = 1 << 14, 1 << 15
        count = search(op, machine, every, ANY_BANDWIDTH)
        for per_byte in (1e-3, 0.1, 10.0):
            alone = search(op, machine, one, Span(per_byte, per_byte))
            assert (count == 0) == (alone == 0)
            if count:
                here = min(max(w["clocks"], w["bytes"] * per_byte) for w in every[:count])
                there = min(max(w["clocks"], w["bytes"] * per_byte) for w in one[:alone])
                assert here == pytest.approx(there, rel=1e-12)


PLAIN = """
import sys, numpy as np
from tests.hwsim.test_mapping import costs_of
np.save(sys.argv[1], costs_of())
"""


def costs_of() -> Record:
    """Costs of drawn products on drawn machines."""
    rng = np.random.default_rng(9)
    found = rows(COST, 60)
    for i in range(len(found)):
        op, machine = drawn(rng, Law(i % 3))
        table = rows(OP, 1)
        table[0] = op
        if i % 4 == 0:
            table["mask"], table["past"], table["n"] = 1, 3, table["m"] + 3
        if i % 4 == 1:
            table["mask"], table["past"], table["k"] = 2, 3, table["m"] + 3
        found[i] = run(table, machine).costs[0]
    return found


def test_the_compiled_functions_are_their_python(tmp_path: Path) -> None:
    path = tmp_path / "plain.npy"
    line = [sys.executable, "-c", PLAIN, str(path)]
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    subprocess.run(line, check=True, env=env, cwd=Path(__file__).parents[2])
    np.testing.assert_array_equal(np.load(path), costs_of())
