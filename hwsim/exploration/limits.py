"""Limits of a sweep: what designs must keep to be of interest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.area import area_um2
from hwsim.machines.load import load_accelerator
from quant.common import arguments
from quant.common.errors import RequestError, unknown_name


@dataclass(frozen=True)
class Limit:
    """A range that a column of a sweep must lie in.

    Attributes:
        column: Such as ``area_um2``, ``power_w``, ``time_s``, ``decode.time_s``.
        low: The least.
        high: The most.
        said: What it stands for; empty: its numbers.
    """

    column: str
    low: float = -math.inf
    high: float = math.inf
    said: str = ""

    def __str__(self) -> str:
        return self.said or f"{self.low:g} <= {self.column} <= {self.high:g}"

    def keeps(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return which designs lie in the range.

        Raises:
            RequestError: there is no such column.
        """
        if self.column not in columns:
            raise unknown_name("column", self.column, columns)
        values = columns[self.column]
        if values.dtype.kind not in "iuf":
            raise RequestError(f"limit {self.column}: a column of texts has no range")
        return np.asarray((values >= self.low) & (values <= self.high))


def limit(column: str, *, min: float = -math.inf, max: float = math.inf) -> Limit:
    """Return a limit on a column.

    Args:
        column: ``area_um2``, ``power_w``, ``time_s``, ``energy_j``, or a work's: ``decode.time_s``.
        min: The least that is of interest.
        max: The most.

    Raises:
        RequestError: no bound, or a range that is empty.

    Example:
        >>> str(limit("power_w", max=2))
        '-inf <= power_w <= 2'
    """
    column = arguments.text("column", column)
    low, high = (_bound(name, value) for name, value in (("min", min), ("max", max)))
    if not low <= high or (low == -math.inf and high == math.inf):
        raise RequestError(f"limit {column}: min {low} and max {high} leave nothing or everything")
    return Limit(column, low, high)


def parse_limit(text: str) -> Limit:
    """Return a limit that is written ``COLUMN<=NUMBER`` or ``COLUMN>=NUMBER``.

    Raises:
        RequestError: it is written otherwise, or ``limit`` refuses it.

    Example:
        >>> parse_limit("area_um2<=2e6").high
        2000000.0
    """
    for sign, key in (("<=", "max"), (">=", "min")):
        column, found, number = text.partition(sign)
        if found:
            try:
                value = float(number)
            except ValueError:
                break
            return limit(column.strip(), **{key: value})
    raise RequestError(f"limit {text!r}: COLUMN<=NUMBER or COLUMN>=NUMBER is needed")


def parse_area(text: str) -> Limit:
    """Return the limit to a machine's area that is written ``MACHINE`` or ``MACHINE:SHARE``.

    Raises:
        RequestError: the share is no number, or ``iso_area`` refuses it.
    """
    name, colon, share = text.rpartition(":")
    if not colon:
        return iso_area(text)
    try:
        within = float(share)
    except ValueError:
        said = f"iso-area {text!r}: MACHINE or MACHINE:SHARE, such as fp16:0.02"
        raise RequestError(said) from None
    return iso_area(name, within)


def _bound(name: str, value: object) -> float:
    if isinstance(value, float) and math.isinf(value):
        return value
    return arguments.number(name, value)


def iso_area(machine: str | Path | Accelerator, within: float = 0.02) -> Limit:
    """Return the limit to about a machine's area, all parts together.

    Args:
        machine: Whose area.
        within: How far from it designs may be, relative.

    Raises:
        RequestError: an unknown machine, or a share that is not between 0 and 1.
    """
    within = arguments.number("within", within, 0.0, 1.0)
    design = load_accelerator(machine)
    area = area_um2(design)["total"]
    said = f"area within {within:.3g} of {design.name}'s {area / 1e6:.4g} mm2"
    return Limit("area_um2", area * (1 - within), area * (1 + within), said)
