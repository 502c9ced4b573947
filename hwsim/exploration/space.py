"""A design space: a base, and the values to try on each axis."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hwsim.exploration.axes import (
    MOST_POINTS,
    WEIGHTS,
    changed,
    key_of,
    keys_of,
    log,
    part_of,
    pow2,
)
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.dram import Dram
from hwsim.machines.load import load_accelerator
from quant.common import arguments
from quant.common.config import load_toml
from quant.common.errors import RequestError, unknown_name
from quant.formats.spec import FormatSpec

Derived = Callable[[Mapping[str, NDArray[Any]]], Any]
MAKERS: Mapping[str, Callable[..., Sequence[Any]]] = {"log": log, "pow2": pow2}
"""What a file may write in place of a list: ``{ log = [1e8, 1e9, 5] }``."""
MOST_DESIGNS = 1 << 40
MOST_CHECKED = 10_000
"""Combinations of the axes of one part that are tried when a space is made."""
MOST_FAULTS = 4
"""Wrong values that an error names."""
KEYS = ("base", "axes")


@dataclass(frozen=True)
class DesignSpace:
    """A grid of designs around a base; what no axis names stays as the base has it.

    Attributes:
        base: A built-in name, a TOML file, or a machine.
        axes: Values by key of the machine's file (``tiles.count``, ``pe.lanes``,
            ``weight_buffer.bytes``, ``clock_hz``...) or short name (``tiles``, ``tile.rows``,
            ``tile.columns``, ``vector``, ``clock``); ``dram``: types, such as ``lpddr5x*4``;
            ``weights``: formats of the block layers.
        derive: Keys whose values follow from others: functions of the axes' arrays, element by
            element (they are called on parts of the space).

    Raises:
        RequestError: an axis that the machine does not have, no values, or values that make no
            machine; all faults together.

    Example:
        >>> space = DesignSpace("bitmod", {"tiles": [4, 8], "dram": ["lpddr5*4", "hbm3*8"]})
        >>> len(space)
        4
    """

    base: str | Path | Accelerator = "bitmod"
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    derive: Mapping[str, Derived] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.base, str | os.PathLike | Accelerator):
            raise arguments.wrong_type("base", self.base, "a name, a TOML file or a machine")
        axes = arguments.table("axes", self.axes, _values)
        object.__setattr__(self, "axes", axes)
        derive = arguments.table("derive", self.derive, _function)
        object.__setattr__(self, "derive", derive)
        keys = [key_of(axis) for axis in (*axes, *derive)]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise RequestError(f"derive, axes: {', '.join(twice)}: an axis already")
        base = load_accelerator(self.base)
        if unknown := [key for key in derive if key == WEIGHTS or key not in keys_of(base)]:
            raise unknown_name("axis", unknown[0], keys_of(base))
        if math.prod(len(values) for values in axes.values()) > MOST_DESIGNS:
            raise RequestError(f"axes: more than {MOST_DESIGNS:.3g} designs: fewer values")
        self._check(base)

    def __len__(self) -> int:
        return math.prod(len(values) for values in self.axes.values())

    @property
    def machine(self) -> Accelerator:
        """The base."""
        return load_accelerator(self.base)

    def _check(self, base: Accelerator) -> None:
        """Each value makes a machine with some values of the axes of the same part."""
        faults: dict[tuple[str, Any], str] = {}
        parts: dict[str, dict[str, Sequence[Any]]] = {}
        for axis, values in self.axes.items():
            parts.setdefault(part_of(axis), {})[axis] = values
        # Where the supply varies, which clocks it allows is judged design by design.
        keys = {key_of(axis) for axis in (*self.axes, *self.derive)}
        clocked = not any(key.startswith("process.") for key in keys) and (
            "clock_hz" not in map(key_of, self.derive)
        )
        for axes in parts.values():
            good: set[tuple[str, Any]] = set()
            for values in itertools.islice(itertools.product(*axes.values()), MOST_CHECKED):
                chosen = dict(zip(axes, values, strict=True))
                try:
                    _made_of(base, chosen, clocked=clocked)
                    good |= {*chosen.items()}
                except RequestError as error:
                    for entry in chosen.items():
                        faults.setdefault(entry, f"{entry[0]} = {entry[1]!r}: {error}")
            for entry in good:
                faults.pop(entry, None)
        if faults:
            texts = [*dict.fromkeys(faults.values())]
            more = f"; and {len(texts) - MOST_FAULTS} more" if len(texts) > MOST_FAULTS else ""
            raise RequestError("; ".join(texts[:MOST_FAULTS]) + more)

    @classmethod
    def load(cls, path: str | Path) -> DesignSpace:
        """Return the space of a TOML file: ``base``, and a table ``[axes]`` of lists.

        Raises:
            RequestError: the file cannot be read, has other keys, or is no space.
        """
        path = arguments.path("path", path)
        data = load_toml(path)
        if unknown := [key for key in data if key not in KEYS]:
            raise RequestError(f"{path}: {', '.join(unknown)}: no such key (known: base, axes)")
        axes = data.get("axes", {})
        if not isinstance(axes, dict):
            raise RequestError(f"{path}: axes: a table is needed")
        try:
            return cls(data.get("base", "bitmod"), {key: _made(key, v) for key, v in _flat(axes)})
        except RequestError as error:
            raise RequestError(f"{path}: {error}") from None


def _made_of(base: Accelerator, values: Mapping[str, Any], *, clocked: bool) -> None:
    """Raise where values make no machine, or are a format that it does not run."""
    rest = dict(values)
    if WEIGHTS in rest:
        base.spec(rest.pop(WEIGHTS))
    changed(base, rest, clocked=clocked)


def _flat(axes: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """Dotted keys of nested tables: TOML reads ``tile.rows = [...]`` as a table of its own."""
    for key, value in axes.items():
        if isinstance(value, dict) and not {*value} & {*MAKERS}:
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _made(key: str, value: Any) -> Any:  # noqa: ANN401
    if not isinstance(value, dict):
        return value
    ((name, given),) = value.items() if len(value) == 1 else (("", None),)
    if name not in MAKERS or not isinstance(given, list):
        allowed = "a list, { log = [low, high, count] } or { pow2 = [low, high] } is needed"
        raise RequestError(f"axes.{key}: {allowed}")
    try:
        return MAKERS[name](*given)
    except TypeError:
        raise RequestError(f"axes.{key}: {name} takes other numbers than {given}") from None


def _values(name: str, values: object) -> tuple[Any, ...]:
    found = arguments.several(name, values, _value, 1)
    if len(found) > MOST_POINTS:
        raise RequestError(f"{name}: {len(found)} values: at most {MOST_POINTS}")
    return tuple(dict.fromkeys(found))


def _value(name: str, value: object) -> Any:  # noqa: ANN401  whatever an axis may have
    plain = arguments.plain(value)
    if isinstance(plain, FormatSpec):
        return str(plain)
    return arguments.one_of(name, plain, (int, float, str, Dram), "a number, a text or a Dram")


def _function(name: str, value: object) -> Derived:
    if not callable(value):
        raise arguments.wrong_type(name, value, "a function of the axes' arrays")
    return value
