"""The folder of a sweep: a Parquet file a chunk, kept as soon as it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwsim.exploration.limits import Limit
from hwsim.exploration.space import Derived, DesignSpace
from hwsim.machines.accelerator import Accelerator
from hwsim.simulation.machine_row import fields
from hwsim.simulation.records import Record
from quant.common.goal import Goal
from quant.common.job import Job
from quant.common.manifest import read_sealed_manifest
from quant.common.versions import made_by

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "hwsim.sweep/1"
CHUNK = 1 << 17
"""Designs at a time: what memory holds, and what a cut run loses at most."""


def goal_of(
    folder: Path,
    space: DesignSpace,
    works: Mapping[str, Record],
    shares: Mapping[str, float],
    limits: Sequence[Limit],
    asked: Mapping[str, Any],
) -> Goal:
    """Return what a sweep into a folder makes: a run that was cut goes on if all this is equal.

    Args:
        folder: Where.
        space: The designs.
        works: The rows of each work on the base.
        shares: How much each counts.
        limits: What designs must keep.
        asked: The rest.
    """
    request = {
        "base": _hash(repr(_facts(space.machine))),
        **made_by(),
        "axes": {axis: [_plain(value) for value in values] for axis, values in space.axes.items()},
        "derive": {key: _code(function) for key, function in space.derive.items()},
        "works": {name: _hash(rows.tobytes()) for name, rows in works.items()},
        "weights": dict(shares),
        "limits": [{key: str(value) for key, value in asdict(one).items()} for one in limits],
        **asked,
    }
    return Goal(folder, SCHEMA, request)


def chunk_file(number: int) -> str:
    """Return the name of a chunk's file."""
    return f"chunk-{number:06d}.parquet"


def write_chunk(place: Job, number: int, frame: pd.DataFrame, counts: Mapping[str, int]) -> None:
    """Keep a chunk's table, and how many designs are not in it."""
    name = chunk_file(number)
    frame.to_parquet(place.folder / name, index=False)
    place.keep(str(number), dict(counts), [name])


def read_chunk(place: Job, number: int) -> tuple[pd.DataFrame, dict[str, int]] | None:
    """Return a chunk that an earlier run has made; None: there is none."""
    import pandas as pd

    path = place.folder / chunk_file(number)
    if place.made is not None:
        counts = place.made["left_out"] if number == 0 else {}  # of all chunks together
    elif str(number) in place.steps:
        counts = place.steps[str(number)].facts
    else:
        return None
    return pd.read_parquet(path), dict(counts)


def tables(folder: Path) -> Iterator[pd.DataFrame]:
    """Yield the tables of a finished sweep, chunk by chunk."""
    import pandas as pd

    for name in read_sealed_manifest(folder)["sha256"]:
        yield pd.read_parquet(folder / name)


def _plain(value: Any) -> Any:  # noqa: ANN401  a value of an axis
    return value if isinstance(value, int | float | str | bool) else repr(value)


def _facts(machine: Accelerator) -> list[object]:
    """All that results follow from: the row, and what the rows of ops are made with."""
    formats = [machine.spec(name) for name in machine.weights]
    timings = [(str(spec), machine.timing(spec)) for spec in formats]
    rest = machine.default_weights, machine.activations, machine.kv, machine.head, machine.scale
    return [fields(machine), timings, *map(str, rest), machine.group_size]


def _code(function: Derived) -> str:
    """What a function does, as far as can be told: its code, and the values that it closes over."""
    code = getattr(function, "__code__", None)
    if code is None:
        return repr(function)
    cells = [repr(cell.cell_contents) for cell in getattr(function, "__closure__", None) or ()]
    defaults = repr(getattr(function, "__defaults__", None))
    return _hash(repr((code.co_code, code.co_consts, code.co_names, cells, defaults)))


def _hash(text: str | bytes) -> str:
    return hashlib.sha256(text.encode() if isinstance(text, str) else text).hexdigest()[:16]
