"""Pareto fronts: what no other design beats in every objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant.common.jit import jit

Points = NDArray[np.float64]
FEW = 48
"""Points that are compared pair by pair."""


def pareto_front(values: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows of ``[designs, objectives]`` are not dominated; all are minimised.

    A row is dominated if another is nowhere larger and somewhere smaller; equal rows both stay.
    Rows with NaN or infinity are never on the front. Divide and conquer of Kung, Luccio and
    Preparata (1975): O(n log n) for two and three objectives, O(n log(n)^(d-2)) for d.

    Example:
        >>> pareto_front([[1, 4], [2, 2], [3, 3]]).tolist()
        [True, True, False]
    """
    points = np.asarray(values, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(f"values of shape {points.shape}: [designs, objectives] is needed")
    on = np.zeros(len(points), np.bool_)
    finite = np.flatnonzero(np.isfinite(points).all(axis=1))
    if not len(finite) or not points.shape[1]:
        return on
    varied = np.ptp(points[finite], axis=0) > 0
    if not varied.any():
        on[finite] = True
        return on
    points = points[:, varied]
    finite = finite[~_far(points[finite])]
    unique, inverse = np.unique(points[finite], axis=0, return_inverse=True)
    kept = np.zeros(len(unique), np.bool_)
    kept[_front(unique, np.arange(len(unique)))] = True
    on[finite] = kept[inverse.reshape(-1)]
    return on


def _far(points: Points) -> NDArray[np.bool_]:
    """Rows that one of a few good ones beats in every objective: most, where there are many."""
    if len(points) <= FEW**2:
        return np.zeros(len(points), np.bool_)
    spread = np.maximum(np.ptp(points, axis=0), np.finfo(float).tiny)
    sums = ((points - points.min(axis=0)) / spread).sum(axis=1)
    return _dominated(points, points[np.argpartition(sums, FEW)[:FEW]])


@jit
def _dominated(points: Points, by: Points) -> NDArray[np.bool_]:
    """Return which points one of a few others is nowhere above and somewhere under."""
    found = np.zeros(len(points), np.bool_)
    for i in range(len(points)):
        for one in by:
            no_worse, better = True, False
            for objective in range(points.shape[1]):
                no_worse = no_worse and one[objective] <= points[i, objective]
                better = better or one[objective] < points[i, objective]
            if no_worse and better:
                found[i] = True
                break
    return found


def _front(points: Points, rows: NDArray[np.intp]) -> NDArray[np.intp]:
    """The front of rows that are in lexicographic order, all different."""
    if len(rows) <= FEW:
        return rows[~_dominated(points[rows], points[rows])]
    if points.shape[1] == 2:
        lows = np.minimum.accumulate(points[rows, 1])
        first = np.concatenate([[np.inf], lows[:-1]])
        return np.asarray(rows[points[rows, 1] < first])
    half = len(rows) // 2
    early = _front(points, rows[:half])
    late = _front(points, rows[half:])
    # Those of the later half have no smaller first objective: the others decide.
    return np.concatenate([early, late[~_under(points[early, 1:], points[late, 1:])]])


def _under(above: Points, below: Points) -> NDArray[np.bool_]:
    """Which rows of ``below`` have a row of ``above`` that is nowhere larger."""
    if not len(above) or not len(below):
        return np.zeros(len(below), np.bool_)
    if len(above) * len(below) <= FEW**2:
        return np.asarray((above[:, None] <= below[None]).all(axis=2).any(axis=0))
    if above.shape[1] == 1:
        return np.asarray(below[:, 0] >= above[:, 0].min())
    if above.shape[1] == 2:
        order = np.argsort(above[:, 0], kind="stable")
        lows = np.minimum.accumulate(above[order, 1])
        place = np.searchsorted(above[order, 0], below[:, 0], side="right") - 1
        return np.asarray((place >= 0) & (lows[np.maximum(place, 0)] <= below[:, 1]))
    both = np.concatenate([above[:, 0], below[:, 0]])
    middle = np.partition(both, len(both) // 2)[len(both) // 2]
    low_above, low_below = above[:, 0] < middle, below[:, 0] < middle
    if not low_above.any() and not low_below.any():
        # The middle is the least of all: those equal to it differ in the others alone.
        least_above, least_below = above[:, 0] == middle, below[:, 0] == middle
        found = np.zeros(len(below), np.bool_)
        found |= _under(above[least_above][:, 1:], below[:, 1:])
        rest = ~least_below & ~found
        found[rest] |= _under(above[~least_above], below[rest])
        return found
    found = np.zeros(len(below), np.bool_)
    found[low_below] = _under(above[low_above], below[low_below])
    high = ~low_below
    found[high] = _under(above[low_above][:, 1:], below[high][:, 1:])
    rest = high & ~found
    found[rest] = _under(above[~low_above], below[rest])
    return found
