"""The Numba twin of ``reference.choose``: the candidate of each group, rounding once a scale.

Candidates that are scaled alike mostly share their levels (BitMoD's +3 and -3): the common ones are
rounded to once, and a candidate has a level of its own that takes the values of one cell.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numba
import numpy as np
from numpy.typing import NDArray

from quant.common.jit import jit, parallel
from quant.formats.elements import F32
from quant.formats.grid import Grid, Steps, steps_of
from quant.rounding import reference
from quant.rounding.kernels.rounding import ZERO, Scalar, add_steps, divide
from quant.rounding.packing import U8


@dataclass(frozen=True, eq=False)
class _Shared:
    """Candidates by scale: ``bounds[k]:bounds[k + 1]`` share the steps ``common[k]``.

    ``own [candidates, 3]``: a candidate's own level, and the cell ``low < x <= high`` it takes.
    """

    bounds: NDArray[np.int64]
    common: Steps
    own: F32


def choose(weight: F32, size: int, scales: F32, grid: Grid) -> U8:
    """Candidate of each group, ``[rows, groups]``; ``scales [candidates, rows, groups]``."""
    shared = _shared(grid)
    if shared is None:
        return reference.choose(weight, size, scales, grid)
    selectors = np.empty(scales.shape[1:], np.uint8)
    common = shared.common
    _choose(
        weight, size, scales, shared.bounds, common.thresholds, common.steps, common.first,
        shared.own, selectors,
    )  # fmt: skip
    return selectors


@lru_cache(maxsize=64)
def _shared(grid: Grid) -> _Shared | None:
    """What the candidates share; None if sums of their levels are not exact in float32."""
    if not _exact(grid.levels):
        return None
    bounds, commons = [0], []
    own = np.full((len(grid.levels), 3), np.inf, np.float32)  # no x lies above Inf
    while bounds[-1] < len(grid.levels):
        start = bounds[-1]
        same = grid.tops[start:] == grid.tops[start]
        stop = start + (len(same) if same.all() else int(same.argmin()))
        levels = [set(_finite(grid, c)[0].tolist()) for c in range(start, stop)]
        common = set.intersection(*levels)
        if max(len(found - common) for found in levels) > 1:
            stop, common = start + 1, levels[0]
        for candidate in range(start, stop):
            rising, ends = _finite(grid, candidate)
            for index in np.flatnonzero(~np.isin(rising, list(common))):
                below = ends[index - 1] if index else np.float32(-np.inf)
                own[candidate] = rising[index], below, ends[index]
        commons.append(_common_cells(grid, range(start, stop), sorted(common)))
        bounds.append(stop)
    cells, firsts = zip(*commons, strict=True)
    return _Shared(np.array(bounds), steps_of(cells, firsts), own)


def _finite(grid: Grid, candidate: int) -> tuple[F32, F32]:
    """The levels of a candidate without padding, and the upper ends of their cells."""
    count = int(np.isfinite(grid.thresholds[candidate]).sum()) + 1
    return grid.levels[candidate, :count], grid.thresholds[candidate, :count]


def _common_cells(
    grid: Grid, candidates: range, common: list[float]
) -> tuple[list[tuple[float, float]], float]:
    """Thresholds and steps between the common levels, and the first level.

    Where a candidate's own level lies between two of them any threshold there does: it takes the
    values on both sides.
    """
    known: dict[tuple[float, float], float] = {}
    for candidate in candidates:
        levels, ends = (part.tolist() for part in _finite(grid, candidate))
        known |= dict(zip(pairwise(levels), ends, strict=False))
    pairs = list(pairwise(common))
    return [(known.get(pair, sum(pair) / 2), pair[1] - pair[0]) for pair in pairs], common[0]


def _exact(levels: F32) -> bool:
    """Whether all levels are multiples of a unit of which 2^20 exceed any of them."""
    unit = np.ldexp(1.0, int(np.frexp(np.abs(levels).max())[1]) - 20)
    multiples = levels / unit
    return bool((multiples == np.rint(multiples)).all())


@jit
def _squared_errors(
    group: F32, x: F32, base: F32, scale: Scalar, level: Scalar, low: Scalar, high: Scalar,
    error: F32,
) -> None:  # fmt: skip
    for i in range(group.size):
        nearest = level if (x[i] > low) & (x[i] <= high) else base[i]
        difference = nearest * scale - group[i]
        error[i] = difference * difference


@jit
def _folded(error: F32) -> Scalar:
    """The sum, the upper half added to the lower until one is left; overwrites ``error``."""
    half = error.size >> 1
    while half >= 8:
        for i in range(half):
            error[i] += error[half + i]
        half >>= 1
    low = (error[0] + error[4]) + (error[2] + error[6])
    return low + ((error[1] + error[5]) + (error[3] + error[7]))


@jit
def _padded_size(size: int) -> int:
    padded = reference.FOLDED_LEAST
    while padded < size:
        padded *= 2
    return padded


@parallel
def _choose(
    weight: F32,
    size: int,
    scales: F32,
    bounds: NDArray[np.int64],
    thresholds: F32,
    steps: F32,
    first: F32,
    own: F32,
    selectors: U8,
) -> None:
    rows, columns = weight.shape
    for row in numba.prange(rows):
        x, base = np.empty(size, np.float32), np.empty(size, np.float32)
        scratch = np.zeros(_padded_size(size), np.float32)
        for g in range(selectors.shape[1]):
            group = weight[row, g * size : min(columns, (g + 1) * size)]
            error = scratch[: _padded_size(group.size)]
            best, least = 0, np.float32(np.inf)
            for k in range(bounds.size - 1):
                scale = scales[bounds[k], row, g]
                divide(group, scale, x)
                for i in range(group.size):
                    base[i] = first[k]
                add_steps(x, group.size, thresholds[k], steps[k], base)
                for candidate in range(bounds[k], bounds[k + 1]):
                    _squared_errors(
                        group, x, base, scale, own[candidate, 0], own[candidate, 1],
                        own[candidate, 2], error,
                    )  # fmt: skip
                    error[group.size :] = ZERO
                    found = _folded(error)
                    if found < least:
                        best, least = candidate, found
            selectors[row, g] = best
