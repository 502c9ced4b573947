"""How far codes are from the weights they stand for, group by group."""

from __future__ import annotations

import numpy as np

from quant.formats.elements import F32
from quant.formats.spec import FormatSpec

POOR = 0.5
"""Relative error, ``|Wq - W| / |W|`` of a group, from which it is counted as poor."""
_AT_ONCE = 1 << 20
"""Weights that are looked at together: their squares are float64."""


def poor_said(poor: int, groups: int) -> str:
    """Return how many groups are poor, in a line; empty where none is."""
    return f"{poor} of {groups} groups have a relative error of {POOR:g} or more" if poor else ""


def poor_groups(weight: F32, rounded: F32, spec: FormatSpec) -> tuple[int, int]:
    """Return how many groups have a relative error of ``POOR`` or more, and how many there are.

    A group whose weights are all zero has none.

    Args:
        weight: ``[out, in]`` float32.
        rounded: The weights that the codes mean, of the same shape.
        spec: The format that they are codes of.
    """
    rows, columns = weight.shape
    starts = np.arange(0, columns, min(spec.group_size, columns))
    step = max(1, _AT_ONCE // columns)
    poor = 0
    for row in range(0, rows, step):
        part = weight[row : row + step].astype(np.float64)
        error = np.add.reduceat((rounded[row : row + step] - part) ** 2, starts, axis=1)
        power = np.add.reduceat(part**2, starts, axis=1)
        poor += int(np.count_nonzero((power > 0) & (error >= POOR**2 * power)))
    return poor, rows * len(starts)
