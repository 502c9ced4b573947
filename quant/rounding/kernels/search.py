"""The Numba twin of ``reference.search``: many scales a group, from sorted running sums."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from quant.common.jit import jit, parallel
from quant.formats.elements import F32
from quant.rounding.kernels.rounding import Scalar

CHUNK = 256
"""Rows that are sorted at a time, so that the copy stays small."""
F64 = NDArray[np.float64]


@jit
def _sorted_moments(group: F32, importance: F32, rising: F32, moments: F64) -> None:
    """Sort a group; ``moments [3, n + 1]`` = running sums of h, h*w, h*w*w from zero."""
    order = np.argsort(group, kind="mergesort")  # for importance; else see _rising
    for k in range(3):
        moments[k, 0] = 0.0
    for i in range(group.size):
        w, h = np.float64(group[order[i]]), np.float64(importance[order[i]])
        rising[i] = group[order[i]]
        moments[0, i + 1] = moments[0, i] + h
        moments[1, i + 1] = moments[1, i] + h * w
        moments[2, i + 1] = moments[2, i] + h * w * w


@jit
def _moments(rising: F32, moments: F64) -> None:
    """The same of a group that is sorted, every weight counting 1."""
    moments[:, 0] = 0.0
    for i in range(rising.size):
        w = np.float64(rising[i])
        moments[0, i + 1] = i + 1.0
        moments[1, i + 1] = moments[1, i] + w
        moments[2, i + 1] = moments[2, i] + w * w


@jit
def _end_of_cell(rising: F32, start: int, n: int, limit: Scalar) -> int:
    """First position from ``start`` whose weight lies above ``limit``."""
    low, high = start, n
    while low < high:
        middle = (low + high) >> 1
        if rising[middle] <= limit:
            low = middle + 1
        else:
            high = middle
    return low


@jit
def _error(
    rising: F32, moments: F64, n: int, scale: Scalar, zero: Scalar, levels: F32, thresholds: F32
) -> float:
    error, start = 0.0, 0
    for j in range(levels.size):
        end = n
        if np.isfinite(thresholds[j]):
            end = _end_of_cell(rising, start, n, (thresholds[j] - zero) * scale)
        h = moments[0, end] - moments[0, start]
        hw = moments[1, end] - moments[1, start]
        hww = moments[2, end] - moments[2, start]
        value = np.float64((levels[j] - zero) * scale)
        error += hww - 2.0 * value * hw + value * value * h
        start = end
        if end == n and not np.isfinite(thresholds[j]):
            break
    return error


def search(
    weight: F32,
    size: int,
    scales: F32,
    zeros: F32,
    levels: F32,
    thresholds: F32,
    factors: F32,
    importance: F32 | None,
) -> tuple[F64, NDArray[np.int64]]:
    """Least error over the factors, and which: ``[candidates, rows, groups]``."""
    error, best = np.empty(scales.shape), np.zeros(scales.shape, np.int64)
    for start in range(0, weight.shape[0], CHUNK):
        part = slice(start, start + CHUNK)
        rows = weight[part] if importance is not None else _rising(weight[part], size)
        _search(
            rows, size, scales[:, part], zeros[part], levels, thresholds, factors, importance,
            error[:, part], best[:, part],
        )  # fmt: skip
    return error, best


def _rising(weight: F32, size: int) -> F32:
    """A copy with every group sorted: numpy sorts floats in vectors, compiled code does not."""
    rising, whole = weight.copy(), weight.shape[1] // size * size
    for group in np.split(rising[:, :whole], max(1, whole // size), axis=1):
        group.sort(axis=1)
    rising[:, whole:].sort(axis=1)
    return rising


@parallel
def _search(
    weight: F32,
    size: int,
    scales: F32,
    zeros: F32,
    levels: F32,
    thresholds: F32,
    factors: F32,
    importance: F32 | None,
    error: F64,
    best: NDArray[np.int64],
) -> None:
    rows, columns = weight.shape
    for row in numba.prange(rows):
        rising, moments = np.empty(size, np.float32), np.empty((3, size + 1))
        for g in range(scales.shape[2]):
            start, stop = g * size, min(columns, (g + 1) * size)
            n = stop - start
            if importance is None:
                rising[:n] = weight[row, start:stop]
                _moments(rising[:n], moments)
            else:
                _sorted_moments(weight[row, start:stop], importance[start:stop], rising, moments)
            for candidate in range(levels.shape[0]):
                least = np.inf
                for index in range(factors.size):
                    scale = scales[candidate, row, g] * factors[index]
                    found = _error(
                        rising, moments, n, scale, zeros[row, g],
                        levels[candidate], thresholds[candidate],
                    )  # fmt: skip
                    if found < least:
                        least = found
                        best[candidate, row, g] = index
                error[candidate, row, g] = least
