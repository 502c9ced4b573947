"""Grids of the user's own: a list of levels, or a TOML file with one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError
from quant.formats.elements import Codebook
from quant.formats.format import Format, Ties
from quant.formats.registry import register


@dataclass(frozen=True)
class GridFile:
    """A grid in TOML.

    Attributes:
        name: What it is called.
        levels: The value of every code, at most 256.
        ties: Which of two equally near levels is taken: lower, upper or even (code).
        group_size: Its usual group size.
        source: Where it comes from.
        schema: The file's version.
    """

    name: str
    levels: tuple[float, ...]
    ties: Ties = "lower"
    group_size: int = 128
    source: str = "user"
    schema: Literal["grid/1"] = "grid/1"


def user_format(
    name: str,
    levels: Sequence[float],
    *,
    ties: Ties = "lower",
    group_size: int = 128,
    source: str = "user",
) -> Format:
    """Return a format whose codes mean these levels, and add it to the registry.

    Args:
        name: Not yet taken; letters, digits, dot, dash.
        levels: ``levels[code]``; 2 to 256 different finite values, one of them not 0.
        ties: Which of two equally near levels is taken.
        group_size: Its usual group size.
        source: Shown by ``quant show``.

    Raises:
        RequestError: NaN, Inf, a level twice, too few or too many, a name that is taken.

    Example:
        >>> import numpy as np, quant
        >>> entry = quant.user_format("thirds", [-1, -1/3, 1/3, 1])
        >>> quant.quantize(np.ones((2, 8)), entry).effective_bits
        4.0
    """
    name, source = arguments.text("name", name), arguments.text("source", source)
    values = arguments.several("levels", levels, arguments.number)
    arguments.choice("ties", ties, get_args(Ties))
    group_size = arguments.integer("group_size", group_size, 1)
    _check(name, values)
    bits = max(1, math.ceil(math.log2(len(values))))
    entry = Format(name, Codebook(bits, values), source, ties=ties, group_size=group_size)
    return register(entry)


def load_grid(path: str | Path) -> Format:
    """Return the format of a TOML file (``name``, ``levels``, and the options of GridFile).

    Raises:
        RequestError: no such file, no TOML, unknown keys, or levels that make no grid.
    """
    data = parse(load_toml(arguments.path("path", path)), GridFile, str(path))
    return user_format(
        data.name, data.levels, ties=data.ties, group_size=data.group_size, source=data.source
    )


def _check(name: str, values: tuple[float, ...]) -> None:
    if not name or not all(c.isalnum() or c in ".-_" for c in name) or name != name.lower():
        raise RequestError(f"grid name {name!r}: lower-case letters, digits, '.', '-', '_'")
    if not 2 <= len(values) <= 256:
        raise RequestError(f"grid {name}: {len(values)} levels: 2 to 256 are allowed")
    for value in values:
        if not math.isfinite(value) or abs(value) > 1e30:
            raise RequestError(f"grid {name}: level {value} is not allowed: finite, up to 1e30")
        if values.count(value) > 1:
            raise RequestError(f"grid {name}: level {value:g} stands twice")
    if not any(values):
        raise RequestError(f"grid {name}: every level is 0")
