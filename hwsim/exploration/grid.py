"""The designs of a space as arrays: parts of a machine vary alone, so that rows are gathered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.exploration.axes import WEIGHTS, changed, key_of, part_of
from hwsim.exploration.space import Derived, DesignSpace
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.checks import LEAST, MOST, ROUNDING
from hwsim.machines.dram import MOST as MOST_OF_DRAM
from hwsim.simulation.machine_row import Fields, fields, machine_row
from hwsim.simulation.records import MACHINE, Record
from quant.common.errors import RequestError

Columns = dict[str, NDArray[Any]]
FAST = ("process", "links", "vector", "dram")
"""Parts that no mapping depends on, whose axes vary fastest: designs that differ in them alone lie
side by side and share the search."""
DIRECT = {
    "clock_hz": ("clock_hz", 1.0),
    "dram.bytes_per_s": ("dram_bytes_per_s", 1.0),
    "dram.joule_per_bit": ("dram_j", 8.0),
    "dram.latency_s": ("dram_latency_s", 1.0),
}
"""Keys that are a field of a machine's row, and the factor between the two."""
RANGES = {
    "clock_hz": (LEAST["clock_hz"], MOST["clock_hz"]),
    **{f"dram.{key}": (0.0, most) for key, most in MOST_OF_DRAM.items()},
}
"""What is allowed of those keys: above the first, at most the second."""
SHAPES = ("tiles.rows", "tiles.columns")
"""Keys of the tiles that the rows of ops depend on."""


@dataclass(frozen=True)
class Grid:
    """A space with its axes in the order in which its designs are numbered.

    Attributes:
        space: The space.
    """

    space: DesignSpace

    @cached_property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The axes, those of formats and elements first, those of the memory last."""

        def place(axis: str) -> int:
            part = part_of(axis)
            return -1 if part == WEIGHTS else FAST.index(part) + 1 if part in FAST else 0

        return {axis: tuple(self.space.axes[axis]) for axis in sorted(self.space.axes, key=place)}

    @cached_property
    def base(self) -> Accelerator:
        """The machine that is changed."""
        return self.space.machine

    def columns(self, first: int, end: int) -> Columns:
        """Return the values of the axes, and of what is derived from them, of some designs."""
        numbers = np.arange(first, end)
        found: Columns = {}
        for axis in reversed(self.axes):
            values = self.axes[axis]
            found[axis] = _array(values)[numbers % len(values)]
            numbers = numbers // len(values)
        found = {axis: found[axis] for axis in self.axes}
        for key, derive in self.space.derive.items():
            found[key] = _derived(key, derive, found, end - first)
        return found

    def machines(self, columns: Columns) -> tuple[Record, NDArray[np.bool_]]:
        """Return the rows of the machines of some designs, and which of those are none.

        Values that each make a machine may make none together (a port too wide for its banks): the
        base's numbers stand there.
        """
        count = len(next(iter(columns.values()), np.zeros(1)))
        table, none = np.empty(count, MACHINE), np.zeros(count, np.bool_)
        whole = self._whole
        table[:] = machine_row(self.base)
        for part, base in whole.items():
            axes = [axis for axis in columns if part_of(axis) == part]
            if not axes:
                continue
            if all(key_of(axis) in DIRECT for axis in axes):
                none |= self._direct(table, {axis: columns[axis] for axis in axes})
                continue
            for combination, where in combinations({axis: columns[axis] for axis in axes}, count):
                values = self._fields(part, tuple(combination.items()))
                none[where] |= values is None
                for key, value in (values or base).items():
                    table[key][where] = value
        none |= table["clock_hz"] > table["most_clock_hz"] * (1 + ROUNDING)
        return table, none

    @staticmethod
    def _direct(table: Record, columns: Columns) -> NDArray[np.bool_]:
        """Write numbers that are fields themselves; return which of them make no machine."""
        none = np.zeros(len(table), np.bool_)
        for axis, values in columns.items():
            field, factor = DIRECT[key_of(axis)]
            if values.dtype.kind not in "iuf":
                raise RequestError(f"{axis} = {values.tolist()[0]!r}: numbers are needed")
            low, high = RANGES[key_of(axis)]
            fits = (values > low) & (values <= high)
            table[field] = np.where(fits, values, table[field] / factor) * factor
            none |= ~fits
        return none

    @cached_property
    def _whole(self) -> dict[str, Fields]:
        return fields(self.base)

    @cached_property
    def _known(self) -> dict[tuple[str, tuple[tuple[str, Any], ...]], Fields | None]:
        return {}

    def _fields(self, part: str, values: tuple[tuple[str, Any], ...]) -> Fields | None:
        """The numbers of a part at some values of its axes; None: they make no machine."""
        key = part, values
        if key not in self._known:  # chunks repeat them
            try:
                self._known[key] = fields(changed(self.base, dict(values), clocked=False))[part]
            except RequestError:
                self._known[key] = None
        return self._known[key]

    def variants(self, columns: Columns) -> Iterator[tuple[Accelerator, str, Any]]:
        """Yield what rows of ops depend on: a machine, a format of weights, and which designs."""
        axes = [
            axis
            for axis in columns
            if axis == WEIGHTS or part_of(axis) == "pe" or key_of(axis) in SHAPES
        ]
        count = len(next(iter(columns.values()), np.zeros(1)))
        for combination, where in combinations({axis: columns[axis] for axis in axes}, count):
            weights = str(combination.pop(WEIGHTS, ""))
            try:
                machine = changed(self.base, combination, clocked=False)
            except RequestError:  # left out by ``machines``
                machine = self.base
            yield machine, weights, where


def _derived(key: str, derive: Derived, columns: Columns, count: int) -> NDArray[Any]:
    """A derived column; whatever goes wrong in a user's function names it."""
    try:
        found = np.asarray(derive(dict(columns)))
    except Exception as error:
        raise RequestError(f"derive: {key}: {type(error).__name__}: {error}") from None
    if found.shape not in ((), (count,)):
        raise RequestError(f"derive: {key}: {found.shape} values for {count} designs")
    return np.broadcast_to(found, (count,))


def combinations(columns: Columns, count: int) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield the different rows of some columns, each with where it stands."""
    if not columns:
        yield {}, slice(0, count)
        return
    code, size = np.zeros(count, np.int64), 1
    known: list[tuple[str, list[Any]]] = []
    for axis, values in columns.items():
        levels, inverse = _levels(values)
        code, size = code * len(levels) + inverse, size * len(levels)
        known.append((axis, levels))
    if size > 1 << 22:
        raise RequestError(f"{', '.join(columns)}: {size} combinations: give the axes fewer values")
    order = np.argsort(code, kind="stable")
    present, starts = np.unique(code[order], return_index=True)
    for number, where in zip(present.tolist(), np.split(order, starts[1:]), strict=True):
        found, left = dict[str, Any](), number
        for axis, levels in reversed(known):
            left, at = divmod(left, len(levels))
            found[axis] = levels[at]
        yield found, where


def _levels(values: NDArray[Any]) -> tuple[list[Any], NDArray[np.int64]]:
    """The different values, and which of them each is."""
    if values.dtype != object:
        unique, inverse = np.unique(values, return_inverse=True)
        return unique.tolist(), inverse.reshape(-1)
    index: dict[Any, int] = {}
    found = [index.setdefault(value, len(index)) for value in values.tolist()]
    return list(index), np.array(found, np.int64)


def _array(values: tuple[Any, ...]) -> NDArray[Any]:
    """Values of an axis as an array: of texts, of numbers, or of objects."""
    kinds = {type(value) for value in values}
    if kinds <= {int} or kinds <= {int, float} or kinds <= {str} or kinds <= {bool}:
        return np.array(values)
    array = np.empty(len(values), object)
    array[:] = values
    return array
