"""The works of a sweep: by name, how much each counts, and the rows of their ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np

from hwsim.machines.accelerator import Accelerator
from hwsim.simulation.own import with_own_formats
from hwsim.simulation.records import OP, Record, rows
from hwsim.simulation.routing import UNIFORM, Routing
from hwsim.simulation.simulate import prepared, scenario_on
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.layers.patterns import EVERY
from roofline.workloads.models import Model
from roofline.workloads.workload import Scenario, Workload

Work: TypeAlias = "Workload | Scenario | Model"


def works_of(work: Work | Mapping[str, Work], machine: Accelerator) -> dict[str, Scenario]:
    """The works by name; one alone is ``work``."""
    several = work if isinstance(work, Mapping) and not _is_config(work) else {"work": work}
    if not several:
        raise RequestError("work: at least one is needed")
    return {str(name): scenario_on(each, machine) for name, each in several.items()}


def _is_config(work: Mapping[Any, Any]) -> bool:
    return "model_type" in work or "architectures" in work


def shares_of(
    weights: Mapping[str, float] | None, works: Mapping[str, Scenario]
) -> dict[str, float]:
    """Return how much each work counts: 1 where nothing is given.

    Raises:
        RequestError: a work that is none, or a number below 0.
    """
    given = arguments.table(
        "weights", {} if weights is None else weights, lambda n, v: arguments.number(n, v, 0.0)
    )
    if unknown := [name for name in given if name not in works]:
        raise unknown_name("work", unknown[0], works)
    return {name: given.get(name, 1.0) for name in works}


def work_rows(
    scenario: Scenario, machine: Accelerator, weights: str = "", routing: Routing = UNIFORM
) -> Record:
    """Return the rows of a scenario on a machine, equal ones as one; ``repeats`` is of them all.

    Args:
        scenario: The work.
        machine: The machine.
        weights: Format of the block layers; empty: the work's own.
        routing: As ``simulate``'s.
    """
    if weights:
        scenario = scenario.with_weights({EVERY: machine.spec(weights)})
    scenario = with_own_formats(scenario, machine)
    tables = []
    for part, repeats in scenario.parts:
        ready = prepared(part, machine, routing)
        table = ready.table.copy()
        counts = part.template.counts[list(ready.kinds)]
        table["repeats"] *= repeats * counts[table["op"]]
        table["op"] = 0
        tables.append(table)
    every = np.concatenate(tables)
    repeats_of = every["repeats"].copy()
    every["repeats"] = 0
    whole = every.view((np.void, OP.itemsize)).reshape(-1)
    _, first, inverse = np.unique(whole, return_index=True, return_inverse=True)
    merged = rows(OP, len(first))
    merged[:] = every[first]
    merged["repeats"] = np.bincount(inverse.reshape(-1), repeats_of)
    return merged
