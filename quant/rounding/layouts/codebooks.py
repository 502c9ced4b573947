"""Learned codebooks: the levels of each row are its own, by weighted k-means (SqueezeLLM).

In one dimension k-means has an exact solution: cells are intervals of the sorted weights, and
dynamic programming finds the best ends (Wang & Song, Ckmeans.1d.dp, R Journal 2011), here with
divide and conquer over the monotone split. No seed, no restarts, never worse than Lloyd's.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from quant.common.jit import jit, parallel
from quant.formats.elements import F32
from quant.formats.grid import Grid
from quant.formats.scale_kind import Scales
from quant.formats.spec import FormatSpec
from quant.rounding.fit import Backend, Fit
from quant.rounding.kernels import rounding as kernels
from quant.rounding.layouts.codec import Arrays, Columns, unpacked
from quant.rounding.packing import U8

F64 = NDArray[np.float64]


class CodebookCodec:
    """Codes of fp16 codebooks, one a row."""

    def encode(
        self, weight: F32, spec: FormatSpec, *, importance: F32 | None = None,
        backend: Backend = "numba",
    ) -> Arrays:  # fmt: skip
        """Find the codebooks and take the nearest entries.

        ``importance`` weighs each squared error (SqueezeLLM: the diagonal of the Fisher
        information); None: all alike.
        """
        bits = spec.element_bits
        counts = np.ones_like(weight) if importance is None else importance
        counts = np.ascontiguousarray(np.broadcast_to(counts, weight.shape), np.float32)
        centers = np.clip(kmeans(weight, counts, 2**bits), -65504, 65504).astype(np.float16)
        codes = nearest_center(weight, centers.astype(np.float32))
        return _arrays(kernels.pack(codes, bits), centers)

    def decode(self, arrays: Arrays, spec: FormatSpec, shape: tuple[int, int]) -> F32:
        """Return ``codebook[row][code]``."""
        values = arrays["codebooks"].astype(np.float32)
        codes = unpacked(arrays, spec, shape[1]).astype(np.intp)
        return np.take_along_axis(values, codes, axis=1)

    def columns(
        self, weight: F32, spec: FormatSpec, diagonal: F32, *, shrinks: tuple[float, ...] = (),
        norm: float = 2.0, weighted: bool = False,
    ) -> Columns:  # fmt: skip
        """Return one grid a row: fp16 centers, found with the diagonal as importance."""
        centers = self.encode(weight, spec, importance=diagonal)["codebooks"]
        levels = centers.astype(np.float32)
        middles = (levels[:, 1:] + levels[:, :-1]) / np.float32(2)
        thresholds = np.pad(middles, ((0, 0), (0, 1)), constant_values=np.inf).astype(np.float32)
        numbers = np.broadcast_to(np.arange(levels.shape[1], dtype=np.uint8), levels.shape)
        grid = Grid(levels, numbers, thresholds, levels.max(axis=1), False, 0)
        ones = np.ones((weight.shape[0], 1), np.float32)
        rows = np.arange(weight.shape[0])[:, None]  # every row its own candidate: beyond 8 bits
        groups = Fit(Scales(ones, None, ones), rows, ones * 0)  # type: ignore[arg-type]  # as above
        return Columns(grid, groups, lambda codes: _arrays(codes, centers), refits=False)


def _arrays(codes: U8, centers: NDArray[np.float16]) -> Arrays:
    none = np.zeros((centers.shape[0], 0), np.float16)
    return {"codes": codes, "scales": none, "codebooks": centers}


@jit
def _cost(sums: F64, start: int, end: int) -> float:
    """Weighted squared error of sorted weights ``start..end-1`` about their mean."""
    h = sums[0, end] - sums[0, start]
    if h <= 0.0:
        return 0.0
    hw = sums[1, end] - sums[1, start]
    within: float = sums[2, end] - sums[2, start] - hw * hw / h
    return max(0.0, within)


@jit
def _fill(sums: F64, before: F64, after: F64, split: NDArray[np.int32], n: int) -> None:
    """One more cluster: ``after[j] = min over i of before[i] + cost(i, j)``, for every j."""
    # (first j, last j, first i, last i); the best i never falls as j rises.
    stack = np.empty((64, 4), np.int64)
    stack[0] = np.array([0, n, 0, n])
    depth = 1
    while depth > 0:
        depth -= 1
        low, high, least, most = stack[depth]
        if low > high:
            continue
        j = (low + high) >> 1
        best, at = np.inf, least
        for i in range(least, min(j, most) + 1):
            found = before[i] + _cost(sums, i, j)
            if found < best:
                best, at = found, i
        after[j], split[j] = best, at
        stack[depth] = np.array([low, j - 1, least, at])
        stack[depth + 1] = np.array([j + 1, high, at, most])
        depth += 2


@parallel
def kmeans(weight: F32, importance: F32, clusters: int) -> F64:
    """Return the optimal centers of each row, rising, ``[out, clusters]`` float64."""
    rows, n = weight.shape
    centers = np.zeros((rows, clusters))
    for row in numba.prange(rows):
        order = np.argsort(weight[row], kind="mergesort")
        sums = np.zeros((3, n + 1))
        for k in range(n):
            w, h = np.float64(weight[row, order[k]]), np.float64(importance[row, order[k]])
            sums[0, k + 1] = sums[0, k] + h
            sums[1, k + 1] = sums[1, k] + h * w
            sums[2, k + 1] = sums[2, k] + h * w * w
        splits = np.zeros((clusters, n + 1), np.int32)
        before, after = np.empty(n + 1), np.empty(n + 1)
        for j in range(n + 1):
            before[j] = _cost(sums, 0, j)
        for c in range(1, clusters):
            _fill(sums, before, after, splits[c], n)
            before[:] = after
        end = n
        for c in range(clusters - 1, -1, -1):
            start = splits[c, end] if c > 0 else 0
            h = sums[0, end] - sums[0, start]
            if h > 0.0:
                centers[row, c] = (sums[1, end] - sums[1, start]) / h
            else:  # an empty cell repeats its neighbour
                centers[row, c] = centers[row, c + 1] if c + 1 < clusters else 0.0
            end = start
    return centers


@parallel
def nearest_center(weight: F32, centers: F32) -> U8:
    """Return the index of the nearest center of the row, a tie the lower, ``[out, in]``."""
    rows, columns = weight.shape
    codes = np.empty((rows, columns), np.uint8)
    for row in numba.prange(rows):
        middles = (centers[row, 1:] + centers[row, :-1]) / np.float32(2)
        for i in range(columns):
            codes[row, i] = np.uint8(kernels.cell(weight[row, i], middles))
    return codes
