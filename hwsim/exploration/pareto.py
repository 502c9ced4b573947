"""Pareto fronts: what no other design beats in every objective."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def pareto_front(values: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows of ``[designs, objectives]`` are not dominated; all are minimised.

    A row is dominated if another is nowhere larger and somewhere smaller; equal rows both stay.

    Example:
        >>> pareto_front([[1, 4], [2, 2], [3, 3]]).tolist()
        [True, True, False]
    """
    points = np.asarray(values, dtype=np.float64)
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    better = (points[:, None] < points[None]).any(axis=2)
    return np.asarray(~(no_worse & better).any(axis=0))
