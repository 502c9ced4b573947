"""sweep(): every design of a space through the simulator's cost function; limits, and the front."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hwsim.exploration.chunks import (
    CHUNK,
    SCHEMA,
    chunk_file,
    goal_of,
    read_chunk,
    tables,
    write_chunk,
)
from hwsim.exploration.designs import run_designs
from hwsim.exploration.grid import Columns, Grid
from hwsim.exploration.limits import Limit
from hwsim.exploration.pareto import pareto_front
from hwsim.exploration.space import DesignSpace
from hwsim.exploration.works import Work, shares_of, work_rows, works_of
from hwsim.simulation.records import Misfit, Record
from hwsim.simulation.routing import UNIFORM, Routing, as_routing
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.common.extras import require
from quant.common.goal import Goal
from quant.common.job import Job, job
from quant.common.progress import progress_bar
from roofline.workloads.workload import Scenario

if TYPE_CHECKING:
    import pandas as pd

Mapping_: TypeAlias = Literal["best", "rule"]
OBJECTIVES = ("time_s", "energy_j", "area_um2")
NO_MACHINE = "no machine"
"""Values of several axes that make none together."""
BLOCK = 1 << 13
"""Machines whose rows lie in memory at a time: as many as a processor's cache holds."""
MISFITS = {"weight_buffer": Misfit.WEIGHTS, "activation_buffer": Misfit.INPUTS}
MOST_IN_MEMORY = 20_000_000
"""Designs of a sweep that is not written to a folder."""


@dataclass(frozen=True)
class Sweep:
    """What a sweep found.

    Attributes:
        space: The designs.
        objectives: Columns that the front is of.
        designs: How many there were.
        misfits: How many of them no buffer held an op of, by buffer, and how many are no machine;
            they are in no table.
        limited: How many more were beyond each limit; they are in no table.
        best: The front, one row a design.
        folder: Where the tables of all that keep the limits are; None: in ``kept``.
        kept: Tables in memory, a chunk each.
    """

    space: DesignSpace
    objectives: tuple[str, ...]
    designs: int
    misfits: Mapping[str, int]
    limited: Mapping[str, int]
    best: pd.DataFrame
    folder: Path | None
    kept: tuple[pd.DataFrame, ...] = field(repr=False, default=())

    def front(self) -> pd.DataFrame:
        """Return the designs that no other beats in all objectives, fastest first."""
        return self.best

    def chunks(self) -> Iterator[pd.DataFrame]:
        """Yield the tables of all designs that fit and keep the limits."""
        if self.folder is None:
            yield from self.kept
        else:
            yield from tables(self.folder)

    def to_frame(self) -> pd.DataFrame:
        """Return one row a design that fits and keeps the limits; ``pareto``: on the front."""
        import pandas as pd

        frame = pd.concat(list(self.chunks()), ignore_index=True)
        frame["pareto"] = pareto_front(frame[list(self.objectives)].to_numpy())
        return frame


def sweep(
    space: DesignSpace,
    work: Work | Mapping[str, Work],
    *,
    limits: Sequence[Limit] = (),
    objectives: Sequence[str] = OBJECTIVES,
    weights: Mapping[str, float] | None = None,
    mapping: Mapping_ = "best",
    routing: Routing = UNIFORM,
    folder: str | Path | None = None,
    overwrite: bool = False,
    chunk: int = CHUNK,
) -> Sweep:
    """Simulate every design of a space.

    Args:
        space: The designs.
        work: A workload, a scenario, or a model, as ``simulate`` takes it, in the base's formats;
            or several by name.
        limits: What designs must keep (``hwsim.limit``, ``hwsim.iso_area``).
        objectives: Columns that are minimised, for the front: ``time_s``, ``energy_j``,
            ``area_um2``, ``power_w``, and ``NAME.time_s``, ``NAME.energy_j`` of each work.
        weights: How much each work counts in ``time_s`` and ``energy_j``; None: 1 each.
        mapping: ``best``: searched for each op and design, as ``simulate`` does; ``rule``: tiles
            along the outputs first and whole jobs, which is faster to find and never faster to run.
        routing: As ``simulate``'s.
        folder: Where tables go, Parquet by chunks: a sweep that was cut goes on there, and one that
            memory does not hold can run. None: memory.
        overwrite: Whether an earlier sweep of another request there may go.
        chunk: Designs at a time.

    Raises:
        RequestError: an unknown objective or column, what the machine does not run, more designs
            than memory holds and no folder, or a folder of another sweep.

    Example:
        >>> import hwsim
        >>> space = hwsim.DesignSpace("bitmod", {"tiles": [4, 8], "dram": ["lpddr5*4", "hbm3*4"]})
        >>> found = hwsim.sweep(space, "smollm2-135m")
        >>> found.designs, list(found.to_frame()["tiles"])
        (4, [4, 4, 8, 8])
    """
    arguments.one_of("space", space, DesignSpace, "a DesignSpace")
    arguments.choice("mapping", mapping, get_args(Mapping_))
    chunk = arguments.integer("chunk", chunk, 1)
    if folder is not None:  # before the work for it
        Goal(arguments.path("folder", folder), SCHEMA, {}, overwrite=overwrite).check()
    grid = Grid(space)
    works = works_of(work, grid.base)
    shares = shares_of(weights, works)
    each = [f"{name}.{key}" for name in works for key in ("time_s", "energy_j")]
    columns = ["area_um2", "power_w", "time_s", "energy_j", *each]
    chosen = tuple(arguments.several("objectives", objectives, _known(columns), 1))
    routing = as_routing(routing)
    limits = arguments.several("limits", limits, _limit)
    for one in limits:
        if one.column not in (*columns, *space.axes, *space.derive):
            raise unknown_name("column", one.column, (*columns, *space.axes, *space.derive))
    if folder is None and len(space) > MOST_IN_MEMORY:
        raise RequestError(f"{len(space)} designs: more than {MOST_IN_MEMORY}: give a folder")
    task = _Task(grid, works, shares, limits, mapping == "best", routing)
    if folder is None:
        return _gathered(task, chosen, chunk, None)
    require("pyarrow")
    asked = {"mapping": mapping, "routing": str(routing), "chunk": chunk, "objectives": chosen}
    rows_of = {name: work_rows(one, grid.base, "", routing) for name, one in works.items()}
    goal = goal_of(arguments.path("folder", folder), space, rows_of, shares, limits, asked)
    with job(replace(goal, overwrite=overwrite)) as place:
        return _gathered(task, chosen, chunk, place)


def explore(space: DesignSpace, work: Work, objectives: Sequence[str] = OBJECTIVES) -> pd.DataFrame:
    """Return ``sweep(space, work).to_frame()``: the name of earlier releases, gone with the next.

    Args:
        space: The designs.
        work: As ``sweep``'s.
        objectives: As ``sweep``'s.

    Raises:
        RequestError: as ``sweep``.
    """
    text = "hwsim.explore is now hwsim.sweep(...).to_frame(): this name goes with the next release"
    warnings.warn(text, DeprecationWarning, stacklevel=2)
    return sweep(space, work, objectives=objectives).to_frame()


def _limit(name: str, value: object) -> Limit:
    return arguments.one_of(name, value, Limit, "a Limit (hwsim.limit, hwsim.iso_area)")


def _known(columns: Sequence[str]) -> Any:  # noqa: ANN401
    return lambda name, value: arguments.choice(name, value, columns)


@dataclass(frozen=True)
class _Task:
    """What a chunk of designs is run with."""

    grid: Grid
    works: Mapping[str, Scenario]
    shares: Mapping[str, float]
    limits: tuple[Limit, ...]
    searched: bool
    routing: Routing

    def run(self, first: int, end: int) -> tuple[Columns, NDArray[np.bool_], dict[str, int]]:
        """Return the columns of some designs, which of them count, and why others do not."""
        columns, none = self.grid.columns(first, end), np.zeros(end - first, np.bool_)
        variants = np.zeros(end - first, np.int64)
        tables: list[Record] = []
        bounds: list[list[int]] = []
        for number, (machine, weights, where) in enumerate(self.grid.variants(columns)):
            variants[where] = number
            bounds.append([sum(map(len, tables))])
            for scenario in self.works.values():
                tables.append(work_rows(scenario, machine, weights, self.routing))
                bounds[-1].append(bounds[-1][-1] + len(tables[-1]))
        out = np.zeros((end - first, 2 + 2 * len(self.works)))
        ops, starts = np.concatenate(tables), np.array(bounds)
        for low in range(0, len(out), BLOCK):
            here = slice(low, low + BLOCK)
            block = {axis: values[here] for axis, values in columns.items()}
            machines, none[here] = self.grid.machines(block)
            run_designs(machines, variants[here], ops, starts, self.searched, out[here])
        return self._results(columns, out, none)

    def table(self, first: int, end: int) -> tuple[pd.DataFrame, dict[str, int]]:
        """Return the table of those designs that count, and why others do not."""
        import pandas as pd

        columns, keeps, counts = self.run(first, end)
        return pd.DataFrame({name: values[keeps] for name, values in columns.items()}), counts

    def _results(
        self, columns: Columns, out: NDArray[np.float64], none: NDArray[np.bool_]
    ) -> tuple[Columns, NDArray[np.bool_], dict[str, int]]:
        found = dict(columns)
        time, energy = np.zeros(len(out)), np.zeros(len(out))
        for i, (name, share) in enumerate(self.shares.items()):
            time, energy = time + share * out[:, 2 + 2 * i], energy + share * out[:, 3 + 2 * i]
            found |= {f"{name}.time_s": out[:, 2 + 2 * i], f"{name}.energy_j": out[:, 3 + 2 * i]}
        found |= {"time_s": time, "energy_j": energy, "area_um2": out[:, 0]}
        with np.errstate(invalid="ignore"):
            found["power_w"] = energy / time
        keeps = (out[:, 1] == 0) & ~none
        counts = {name: int(((out[:, 1] == kind) & ~none).sum()) for name, kind in MISFITS.items()}
        counts[NO_MACHINE] = int(none.sum())
        for one in self.limits:
            here = one.keeps(found)
            counts[str(one)] = int((keeps & ~here).sum())
            keeps = keeps & here
        return found, keeps, counts


def _gathered(task: _Task, objectives: tuple[str, ...], chunk: int, place: Job | None) -> Sweep:
    """Run the chunks that are not there, and gather counts and front."""
    import pandas as pd

    space = task.grid.space
    counts: dict[str, int] = {}
    kept: list[pd.DataFrame] = []
    files: list[str] = []
    best = pd.DataFrame()
    with progress_bar() as bar:
        shown = bar.add_task("sweeping", total=len(space))
        for number, first in enumerate(range(0, len(space), chunk)):
            end = min(first + chunk, len(space))
            known = None if place is None else read_chunk(place, number)
            frame, part = known or task.table(first, end)
            if place is None:
                kept.append(frame)
            elif known is None:
                write_chunk(place, number, frame, part)
            files.append(chunk_file(number))
            for key, count in part.items():
                counts[key] = counts.get(key, 0) + count
            best = _merged(best, frame, objectives)
            bar.update(shown, completed=end)
    if place is not None and place.made is None:
        place.finish({"designs": len(space), "left_out": counts}, files)
    misfits = {name: counts.pop(name, 0) for name in (*MISFITS, NO_MACHINE)}
    best = best.sort_values(list(objectives)).reset_index(drop=True)
    folder = None if place is None else place.goal.folder
    return Sweep(space, objectives, len(space), misfits, counts, best, folder, tuple(kept))


def _merged(best: pd.DataFrame, frame: pd.DataFrame, objectives: tuple[str, ...]) -> pd.DataFrame:
    """The front of a front and further designs."""
    import pandas as pd

    if frame.empty:
        return frame if best.empty else best
    here = frame[pareto_front(frame[list(objectives)].to_numpy())]
    both = pd.concat([best, here], ignore_index=True) if len(best) else here
    return both[pareto_front(both[list(objectives)].to_numpy())]
