"""Axes of a design space: which part of a machine each changes, and how."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.checks import MOST, machine_faults
from hwsim.machines.dram import Dram, named_dram
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.common.sourced import Sourced

WEIGHTS = "weights"
"""The axis of formats of the block layers: the work's, not the machine's."""
SOURCE = "design space"
"""Where the numbers of an axis come from."""
ALIASES = {
    "tiles": "tiles.count",
    "tile.rows": "tiles.rows",
    "tile.columns": "tiles.columns",
    "vector": "vector.lanes",
    "clock": "clock_hz",
}
"""Short names of axes."""
PART_OF = {
    "clock_hz": "process",
    "layout": "pe",
    "dataflow": "loops",
    "fuses_attention": "loops",
    "skips_masked": "loops",
}
"""The part of a machine's row that a key changes, where it is not its first word."""
FIRST = ("dram", "dram.channels", "pe.lanes")
"""Keys that bring other numbers with them, which further axes then change."""
FIXED = (
    "group_size", "dram.channels", "pe.exponent_bits", "pe.digit_bits", "pe.max_group",
    "pe.skip_zero_steps", "pe.index_bits", "pe.mantissa_bits", "pe.weight_width",
)  # fmt: skip
"""Keys that are no axes: a group is part of a format (``weights``), and what the widths of an
element cost is not known."""
MOST_POINTS = 1 << 16
"""Values of an axis."""


def log(low: float, high: float, count: int) -> list[float]:
    """Return values at equal ratios, both ends among them.

    Example:
        >>> log(1, 100, 3)
        [1.0, 10.0, 100.0]
    """
    low, high = arguments.number("low", low, above=0), arguments.number("high", high, above=0)
    count = arguments.integer("count", count, 2, MOST_POINTS)
    step = math.log(high / low) / (count - 1)
    inner = [low * math.exp(step * i) for i in range(1, count - 1)]
    return [float(f"{value:.12g}") for value in (low, *inner, high)]


def pow2(low: int, high: int) -> list[int]:
    """Return the powers of two from ``low`` to ``high``, both included where they are one.

    Example:
        >>> pow2(3, 20)
        [4, 8, 16]
    """
    low, high = arguments.integer("low", low, 1), arguments.integer("high", high, 1)
    powers = [1 << bits for bits in range(high.bit_length()) if low <= 1 << bits <= high]
    if not powers:
        raise RequestError(f"pow2({low}, {high}): there is no power of two between them")
    return powers


def key_of(axis: str) -> str:
    """Return the key of a machine's file that an axis changes."""
    return ALIASES.get(axis, axis)


def part_of(axis: str) -> str:
    """Return the part of a machine's row that an axis changes."""
    first = key_of(axis).partition(".")[0]
    return PART_OF.get(first, first)


def keys_of(machine: Accelerator) -> list[str]:
    """Return the keys that may be axes of a machine."""
    channels = ["dram.channels"] if machine.dram.name else []
    return [*sorted(_keys(machine, "")), *channels, "dram", WEIGHTS, *ALIASES]


def changed(
    machine: Accelerator, values: Mapping[str, Any], *, clocked: bool = True
) -> Accelerator:
    """Return a machine with other values at some keys.

    Args:
        machine: The base.
        values: By axis: numbers, ``TYPE*CHANNELS`` for ``dram``. ``pe.lanes`` changes the element's
            area and energy by its own model.
        clocked: Whether the clock must be one that the supply allows.

    Raises:
        RequestError: no such key, or values that make no machine: all of them, each with its key.
    """
    for axis, value in sorted(values.items(), key=lambda entry: _turn(key_of(entry[0]))):
        key = key_of(axis)
        if key == "dram":
            dram = value if isinstance(value, Dram) else named_dram(value)
            machine = dataclasses.replace(machine, dram=dram)
        elif key == "dram.channels":
            if not machine.dram.name:
                raise RequestError(f"{axis}: the memory has no type: give dram, too")
            dram = named_dram(machine.dram.name, arguments.integer(axis, value, 1))
            machine = dataclasses.replace(machine, dram=dram)
        elif key == "pe.lanes":
            lanes = arguments.integer(axis, value, 1, int(MOST[key]))
            machine = dataclasses.replace(machine, pe=machine.pe.resized(lanes))
        elif key in FIXED:
            raise unknown_name("axis", axis, keys_of(machine))
        else:
            machine = _set(machine, key.split("."), axis, value, machine)
    if faults := machine_faults(machine, clocked=clocked):
        raise RequestError("; ".join(faults))
    return machine


def _turn(key: str) -> int:
    """When a key is set: what brings others with it first."""
    return FIRST.index(key) if key in FIRST else len(FIRST)


def _set(part: Any, path: Sequence[str], axis: str, value: Any, machine: Accelerator) -> Any:  # noqa: ANN401
    name, *rest = path
    names = [field.name for field in dataclasses.fields(part)] if _has_fields(part) else []
    if name not in names:
        raise unknown_name("axis", axis, keys_of(machine))
    before = getattr(part, name)
    if rest:
        return dataclasses.replace(part, **{name: _set(before, rest, axis, value, machine)})
    return dataclasses.replace(part, **{name: _like(before, axis, value, machine)})


def _like(before: Any, axis: str, value: Any, machine: Accelerator) -> Any:  # noqa: ANN401
    """A value of the kind that the base has there."""
    if isinstance(before, Sourced):
        return Sourced(arguments.number(axis, value), SOURCE)
    if isinstance(before, bool):
        return arguments.flag(axis, value)
    if isinstance(before, int):
        return arguments.integer(axis, value)
    if isinstance(before, str):
        return arguments.text(axis, value)
    raise unknown_name("axis", axis, keys_of(machine))


def _has_fields(part: object) -> bool:
    return dataclasses.is_dataclass(part) and not isinstance(part, type | Sourced)


@lru_cache(maxsize=64)
def _keys(part: Any, before: str) -> tuple[str, ...]:  # noqa: ANN401
    """The dotted names of all numbers and words of a machine that may vary."""
    found: list[str] = []
    for field in dataclasses.fields(part):
        value, name = getattr(part, field.name), f"{before}{field.name}"
        if _has_fields(value) and field.name in ROOMS:
            found += _keys(value, f"{name}.")
        elif isinstance(value, Sourced | int) or field.name in WORDS:
            found += [name] if name not in FIXED else []
    return tuple(found)


ROOMS = (
    "pe", "tiles", "weight_buffer", "activation_buffer", "vector", "dram", "links", "layout",
    "process",
)  # fmt: skip
"""Parts of a machine whose fields may vary."""
WORDS = ("sharing", "dataflow", "memory", "columns")
"""Words that may."""
