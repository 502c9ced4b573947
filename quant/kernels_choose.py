"""The Numba twin of ``quant.reference.choose``: the candidate of each group, rounding once a scale.

Candidates that are scaled alike mostly share their levels (BitMoD's +3 and -3): what they have in
common is rounded once, and each adds the few thresholds of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numba
import numpy as np
from numpy.typing import NDArray

from quant import reference
from quant.common.jit import jit, parallel
from quant.datatypes import F32
from quant.kernels import ZERO, Scalar, add_steps, divide
from quant.packing import U8
from quant.scheme import Grid, Steps, steps_of

OWN = 3
"""Thresholds that a candidate may have beside the common ones."""
Cell = tuple[float, float]  # a threshold and the step across it


@dataclass(frozen=True, eq=False)
class _Shared:
    """Candidates by scale: ``bounds[k]:bounds[k + 1]`` share the steps ``common[k]``."""

    bounds: NDArray[np.int64]
    common: Steps
    own: Steps


def choose(weight: F32, size: int, scales: F32, grid: Grid) -> U8:
    """Candidate of each group, ``[rows, groups]``; ``scales [candidates, rows, groups]``."""
    shared = _shared(grid)
    if shared is None:
        return reference.choose(weight, size, scales, grid)
    selectors = np.empty(scales.shape[1:], np.uint8)
    common, own = shared.common, shared.own
    _choose(
        weight, size, scales, shared.bounds, common.thresholds, common.steps, common.first,
        own.thresholds, own.steps, own.first, selectors,
    )  # fmt: skip
    return selectors


@lru_cache(maxsize=64)
def _shared(grid: Grid) -> _Shared | None:
    """What the candidates share; None if sums of their levels are not exact in float32."""
    if not _exact(grid.levels):
        return None
    cells = [_cells(grid, c) for c in range(grid.levels.shape[0])]
    bounds, commons = [0], []
    while bounds[-1] < len(cells):
        start = stop = bounds[-1]
        while stop < len(cells) and grid.tops[stop] == grid.tops[start]:
            stop += 1
        common = set.intersection(*cells[start:stop])
        if max(len(c - common) for c in cells[start:stop]) > OWN:
            stop, common = start + 1, cells[start]
        bounds.append(stop)
        commons.append(common)
    firsts = [grid.levels[start, 0] for start in bounds[:-1]]
    of = np.repeat(np.arange(len(commons)), np.diff(bounds))
    own = [sorted(c - commons[k]) for c, k in zip(cells, of, strict=True)]
    offsets = [grid.levels[c, 0] - firsts[k] for c, k in enumerate(of)]
    return _Shared(
        np.array(bounds), steps_of([sorted(c) for c in commons], firsts), steps_of(own, offsets, 4)
    )


def _cells(grid: Grid, candidate: int) -> set[Cell]:
    thresholds = grid.thresholds[candidate]
    steps = np.diff(grid.levels[candidate])
    finite = np.isfinite(thresholds[:-1])
    return set(zip(thresholds[:-1][finite].tolist(), steps[finite].tolist(), strict=True))


def _exact(levels: F32) -> bool:
    """Whether all levels are multiples of a unit of which 2^20 exceed any of them."""
    unit = np.ldexp(1.0, int(np.frexp(np.abs(levels).max())[1]) - 20)
    multiples = levels / unit
    return bool((multiples == np.rint(multiples)).all())


@jit
def _squared_errors(
    group: F32, x: F32, base: F32, scale: Scalar, first: Scalar, thresholds: F32, steps: F32,
    error: F32,
) -> None:  # fmt: skip
    t0, t1, t2 = thresholds[0], thresholds[1], thresholds[2]
    s0, s1, s2 = steps[0], steps[1], steps[2]
    for i in range(group.size):
        value = x[i]
        level = base[i] + first
        level += (s0 if value > t0 else ZERO) + (s1 if value > t1 else ZERO)
        level += s2 if value > t2 else ZERO
        difference = level * scale - group[i]
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
    own_thresholds: F32,
    own_steps: F32,
    own_first: F32,
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
                        group, x, base, scale, own_first[candidate],
                        own_thresholds[candidate], own_steps[candidate], error,
                    )  # fmt: skip
                    error[group.size :] = ZERO
                    found = _folded(error)
                    if found < least:
                        best, least = candidate, found
            selectors[row, g] = best
