"""The rows of ops through the cost function, many at a time; compiled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwsim.simulation.cost import cost
from hwsim.simulation.records import COST, MACHINE, OP, WAY, Record, rows
from hwsim.simulation.ways import MOST_WAYS, Span, misfit, search
from quant.common.jit import jit


@jit
def run_rows(ops: Record, machine: Record, ways: Record, costs: Record) -> None:
    """Write the cost of every row on a machine, and the way that it took.

    Args:
        ops: ``[rows]`` of ``OP``.
        machine: A row of ``MACHINE``.
        ways: ``[rows]`` of ``WAY``, written.
        costs: ``[rows]`` of ``COST``, written.
    """
    found = np.zeros(MOST_WAYS + 1, ways.dtype)
    clocks_per_byte = machine["clock_hz"] / machine["dram_bytes_per_s"]
    for i in range(len(ops)):
        count = 0
        if ops[i]["product"]:
            count = search(ops[i], machine, found, Span(clocks_per_byte, clocks_per_byte))
            if count == 0:
                costs[i]["misfit"], costs[i]["needed_bytes"] = misfit(ops[i], machine)
                continue
        cost(ops[i], machine, found, count, costs[i])
        if ops[i]["product"]:
            ways[i] = found[costs[i]["way"]]


@dataclass(frozen=True)
class Ran:
    """Costs, and the ways that were taken, of rows.

    Attributes:
        costs: ``[rows]`` of ``COST``.
        ways: ``[rows]`` of ``WAY``.
    """

    costs: Record
    ways: Record


def run(ops: Record, machine: Record) -> Ran:
    """Return the costs of rows of ops on a machine; a row that does not fit has a ``misfit``."""
    assert (ops.dtype, machine.dtype) == (OP, MACHINE)
    ran = Ran(rows(COST, len(ops)), rows(WAY, len(ops)))
    run_rows(ops, machine, ran.ways, ran.costs)
    return ran
