"""explore(): every design of a grid simulated, the Pareto front marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hwsim.exploration.pareto import pareto_front
from hwsim.exploration.space import DesignSpace
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import load_accelerator
from hwsim.simulation.result import SimulationResult
from hwsim.simulation.simulate import scenario_on, simulate
from quant.common import arguments
from quant.common.progress import track
from quant.layers.patterns import EVERY
from roofline.workloads.models import Model
from roofline.workloads.workload import Scenario, Workload

if TYPE_CHECKING:
    import pandas as pd

OBJECTIVES = ("time_s", "energy_j", "area_um2", "cycles")


def explore(
    space: DesignSpace,
    work: Workload | Scenario | Model,
    objectives: Sequence[str] = ("time_s", "energy_j", "area_um2"),
) -> pd.DataFrame:
    """Simulate every design of a space.

    Args:
        space: The grid.
        work: Workload or scenario, or a model, as ``simulate`` takes it: in the base's formats.
        objectives: Columns that are minimised, for the front.

    Returns:
        One row a design: rows, columns, bandwidth, format, the results, ``pareto``.

    Raises:
        RequestError: an unknown objective, or what the machine does not run.
    """
    import pandas as pd

    arguments.one_of("space", space, DesignSpace, "a DesignSpace")
    chosen = arguments.several("objectives", objectives, _objective, 1)
    work = scenario_on(work, load_accelerator(space.base))
    designs = space.designs()
    for machine, text in designs:  # before the first of them runs
        if text is not None:
            machine.spec(text)
    results = [
        _row(machine, text, work) for machine, text in track(designs, "exploring", len(designs))
    ]
    frame = pd.DataFrame(results)
    frame["pareto"] = pareto_front(frame[list(chosen)].to_numpy())
    return frame


def _objective(name: str, value: object) -> str:
    return arguments.choice(name, value, OBJECTIVES)


def _row(machine: Accelerator, text: str | None, work: Scenario) -> dict[str, object]:
    if text is not None:
        work = work.with_weights({EVERY: machine.spec(text)})
    result: SimulationResult = simulate(work, machine)
    return {
        "rows": machine.prefill.rows,
        "columns": machine.prefill.columns,
        "bandwidth_bits": machine.dram.bits_per_cycle.value,
        "format": text or "",
        "cycles": result.cycles,
        "time_s": result.time_s,
        "energy_j": result.energy_j,
        "area_um2": result.area_um2,
    }
