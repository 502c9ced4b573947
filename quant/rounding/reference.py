"""Rounding to a grid: the readable numpy reference, step by step; ``kernels`` holds its twins.

Rules (docs/formats.md): each group of a row is quantized alone. ``x = weight / scale`` takes the
nearest level, a tie as the format says; of several candidate grids the first with the strictly
least squared error wins. Integers round half to even, then add the zero point and saturate.

Squared errors of ``choose`` are float32 and are summed by folding (pairwise: the upper half is
added to the lower until one is left), a fixed order which the vectorised twin shares, so both
choose the same candidate on any thread count.
``search`` sums moments of sorted weights instead, so that a candidate costs a few lookups.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32
from quant.formats.grid import Grid
from quant.rounding.packing import U8

FOLDED_LEAST = 8
"""Numbers that a sum by folding starts with at least, padded with zeros."""
F64 = NDArray[np.float64]


def blocks(weight: F32, size: int) -> Iterator[F32]:
    """Yield the groups at each position, ``[out, <= size]``."""
    for start in range(0, weight.shape[1], size):
        yield weight[:, start : start + size]


def extrema(weight: F32, size: int, mean: bool = False) -> tuple[F32, F32]:
    """Return the least and greatest weight of each group, or twice the mean magnitude."""
    if mean:
        means = [np.abs(b).mean(axis=1, dtype=np.float64) for b in blocks(weight, size)]
        both = np.stack(means, axis=1).astype(np.float32)
        return both, both
    low = np.stack([block.min(axis=1) for block in blocks(weight, size)], axis=1)
    return low, np.stack([block.max(axis=1) for block in blocks(weight, size)], axis=1)


def choose(weight: F32, size: int, scales: F32, grid: Grid) -> U8:
    """Return the candidate of each group with the least squared error, ``[out, groups]``.

    Args:
        weight: ``[out, in]`` float32, finite.
        size: Group size.
        scales: Of each candidate, ``[candidates, out, groups]``.
        grid: The levels of the candidates, and where one cell ends.
    """
    selectors = np.zeros(scales.shape[1:], np.uint8)
    for g, block in enumerate(blocks(weight, size)):
        best = np.full(block.shape[0], np.inf, np.float32)
        for candidate in range(grid.levels.shape[0]):
            scale = scales[candidate, :, g, None]
            cells = cell_of(block / _safe(scale), grid.thresholds[candidate])
            error = _squared_error(grid.levels[candidate][cells] * scale, block)
            better = error < best
            best = np.where(better, error, best)
            selectors[better, g] = candidate
    return selectors


def search(
    weight: F32,
    size: int,
    scales: F32,
    zeros: F32,
    levels: F32,
    thresholds: F32,
    factors: F32,
    importance: F32,
) -> tuple[F64, NDArray[np.int64]]:
    """Return the least squared error over scale factors, and which one, per candidate and group.

    Both are ``[candidates, out, groups]``. Sums over a cell of ``h*(w - q)^2`` are taken from
    running sums of ``h``, ``h*w`` and ``h*w^2`` over the sorted weights, in float64.
    """
    error = np.full(scales.shape, np.inf)
    best = np.zeros(scales.shape, np.int64)
    counted = np.broadcast_to(importance, weight.shape)
    pairs = zip(blocks(weight, size), blocks(counted, size), strict=True)
    for g, (block, weights) in enumerate(pairs):
        order = np.argsort(block, axis=1, kind="stable")
        rising = np.take_along_axis(block, order, axis=1)
        moments = _moments(rising, np.take_along_axis(weights, order, axis=1))
        for candidate in range(levels.shape[0]):
            for index, factor in enumerate(factors):
                scale = scales[candidate, :, g] * factor
                found = _moment_error(
                    rising, moments, scale, zeros[:, g], levels[candidate], thresholds[candidate]
                )
                better = found < error[candidate, :, g]
                error[candidate, better, g] = found[better]
                best[candidate, better, g] = index
    return error, best


def search_norm(
    weight: F32,
    size: int,
    scales: F32,
    zeros: F32,
    levels: F32,
    thresholds: F32,
    factors: F32,
    importance: F32,
    norm: float,
) -> tuple[F64, NDArray[np.int64]]:
    """As ``search``, of errors to any power, weight by weight (GPTQ's code takes 2.4)."""
    error = np.full(scales.shape, np.inf)
    best = np.zeros(scales.shape, np.int64)
    for g, block in enumerate(blocks(weight, size)):
        counts = importance[g * size : g * size + block.shape[1]].astype(np.float64)
        for candidate in range(levels.shape[0]):
            for index, factor in enumerate(factors):
                scale, zero = _safe(scales[candidate, :, g, None] * factor), zeros[:, g, None]
                cells = cell_of(block / scale + zero, thresholds[candidate])
                missed = np.abs((levels[candidate][cells] - zero) * scale - block)
                found = (missed.astype(np.float64) ** norm) @ counts
                better = found < error[candidate, :, g]
                error[candidate, better, g] = found[better]
                best[candidate, better, g] = index
    return error, best


def encode(weight: F32, size: int, scales: F32, selectors: U8, zeros: F32, grid: Grid) -> U8:
    """Return the codes ``[out, in]`` under scales, selectors and zero points ``[out, groups]``."""
    parts = []
    for g, block in enumerate(blocks(weight, size)):
        ratio = (block / _safe(scales[:, g, None])).astype(np.float32)
        if grid.is_integer:
            parts.append(_integer_codes(ratio, zeros[:, g, None], grid))
            continue
        codes = np.empty(block.shape, np.uint8)
        for candidate in range(grid.levels.shape[0]):
            rows = selectors[:, g] == candidate
            codes[rows] = grid.codes[candidate][cell_of(ratio[rows], grid.thresholds[candidate])]
        if grid.negative_zero:
            codes[(codes == 0) & np.signbit(ratio)] = grid.negative_zero
        parts.append(codes)
    return np.concatenate(parts, axis=1)


def cell_of(x: F32, thresholds: F32) -> NDArray[np.intp]:
    """Return the number of thresholds below ``x``: the index of its level."""
    return np.searchsorted(thresholds, x, side="left")


def _integer_codes(ratio: F32, zero: F32, grid: Grid) -> U8:
    """Round half to even; an integer zero point is added after rounding (AWQ, BitMoD, GPTQ)."""
    whole = np.rint(zero) == zero
    shifted = np.where(whole, np.rint(ratio) + zero, np.rint(ratio + zero))
    levels = grid.levels[0]
    index = np.clip(shifted, levels[0], levels[-1]) - levels[0]
    return np.asarray(grid.codes[0][index.astype(np.intp)], np.uint8)


def _safe(scales: F32) -> F32:
    """A group whose stored scale is zero is all zeros: divide by infinity."""
    return np.where(scales > 0, scales, np.float32(np.inf))


def _squared_error(rounded: F32, weight: F32) -> F32:
    difference = rounded - weight
    width = FOLDED_LEAST
    while width < weight.shape[1]:
        width *= 2
    total = np.zeros((weight.shape[0], width), np.float32)
    with np.errstate(over="ignore"):  # Inf: any candidate with a finite error is better
        total[:, : weight.shape[1]] = difference * difference
    while width > 1:
        width //= 2
        total = total[:, :width] + total[:, width:]
    return total[:, 0]


def _moments(rising: F32, weights: F32) -> F64:
    """Running sums of h, h*w and h*w*w from zero, ``[3, out, n + 1]``."""
    w, h = rising.astype(np.float64), weights.astype(np.float64)
    sums = np.stack([h, h * w, h * w * w]).cumsum(axis=2)
    return np.pad(sums, ((0, 0), (0, 0), (1, 0)))


def _moment_error(
    rising: F32, moments: F64, scale: F32, zero: F32, levels: F32, thresholds: F32
) -> F64:
    n, start = rising.shape[1], np.zeros(rising.shape[0], np.int64)
    rows, error = np.arange(rising.shape[0]), np.zeros(rising.shape[0])
    for level, threshold in zip(levels, thresholds, strict=True):
        end = np.full_like(start, n)
        if np.isfinite(threshold):
            limit = (threshold - zero) * scale
            end = np.maximum(start, (rising <= limit[:, None]).sum(axis=1))
        h, hw, hww = moments[:, rows, end] - moments[:, rows, start]
        value = ((level - zero) * scale).astype(np.float64)
        error += hww - 2.0 * value * hw + value * value * h
        start = end
    return error
