"""Round to nearest: the readable numpy reference, step by step; ``quant.kernels`` is its twin.

Rules (BitMoD's released quantizer in float32; docs/formats.md):
each group of a row is quantized alone. Grids: ``scale = clamp(absmax / largest level)``, each
weight takes the nearest level, a tie on the midpoint the lower one; of several candidate grids
the first with the strictly least squared error wins. Symmetric integers round half to even.
Asymmetric integers: ``scale = clamp((max-min)/(2^b-1))``, ``zero = clamp(round(-min/scale))``.

Squared errors are float32, summed in float64 over eight interleaved lanes (a fixed order, which
the vectorised twin shares), so both choose the same candidate whatever the thread count.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.datatypes import F32
from quant.formats import Format
from quant.packing import U8

ERROR_LANES = 8


def sorted_grid(table: F32) -> tuple[F32, U8]:
    """Return the distinct levels of a table in rising order and a code of each; ``+0`` for 0."""
    levels, first = np.unique(table, return_index=True)
    return levels.astype(np.float32), first.astype(np.uint8)


def fit_grid(weight: F32, format_: Format) -> tuple[F32, U8]:
    """Choose scale and selector of every group.

    Args:
        weight: Groups, ``[n, group]`` float32, finite.
        format_: A format with tables and no zero point.

    Returns:
        Scales ``[n]`` float32 and selectors ``[n]`` uint8 (0 where there is one table).
    """
    absmax = np.abs(weight).max(axis=1)
    best_scale, best_error = np.zeros_like(absmax), np.full(absmax.shape, np.inf)
    selector = np.zeros(absmax.shape, np.uint8)
    for index, table in enumerate(format_.tables):
        scale = _clamped(absmax / np.abs(table).max(), format_)
        levels, _ = sorted_grid(table)
        rounded = levels[_nearest(weight / scale[:, None], levels)]
        error = _squared_error(rounded * scale[:, None], weight)
        better = error < best_error
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
        selector[better] = index
    return best_scale, selector


def encode_grid(weight: F32, scales: F32, selectors: U8, format_: Format) -> U8:
    """Return the codes ``[n, group]`` of groups under given scales ``[n]`` and selectors."""
    codes = np.empty(weight.shape, np.uint8)
    for index, table in enumerate(format_.tables):
        chosen = selectors == index
        levels, level_codes = sorted_grid(table)
        codes[chosen] = level_codes[_nearest(_ratio(weight[chosen], scales[chosen]), levels)]
    return codes


def fit_symmetric(weight: F32, format_: Format) -> F32:
    """Return ``clamp(absmax / (2^(b-1)-1))`` of every group, ``[n]`` float32."""
    return _clamped(np.abs(weight).max(axis=1) / np.float32(_top(format_)), format_)


def encode_symmetric(weight: F32, scales: F32, format_: Format) -> U8:
    """Return two's complement codes ``[n, group]``, rounded half to even, saturated."""
    top = _top(format_)
    rounded = np.clip(np.rint(_ratio(weight, scales)), -top, top).astype(np.int32)
    codes: U8 = (rounded & (2**format_.element_bits - 1)).astype(np.uint8)
    return codes


def fit_asymmetric(weight: F32, format_: Format) -> F32:
    """Return ``clamp((max-min) / (2^b-1))`` of every group, ``[n]`` float32."""
    span = weight.max(axis=1) - weight.min(axis=1)
    return _clamped(span / np.float32(_top(format_)), format_)


def encode_asymmetric(weight: F32, scales: F32, format_: Format) -> tuple[U8, U8]:
    """Return codes ``[n, group]`` and zero points ``[n]`` under given scales."""
    top = _top(format_)
    zeros = np.clip(np.rint(_ratio(-weight.min(axis=1, keepdims=True), scales)), 0, top)
    codes = np.clip(np.rint(_ratio(weight, scales)) + zeros, 0, top)
    return codes.astype(np.uint8), zeros[:, 0].astype(np.uint8)


def _top(format_: Format) -> int:
    return int(format_.tables.max())


def _clamped(scale: F32, format_: Format) -> F32:
    low, high = format_.scale_range
    return np.clip(scale, np.float32(low), np.float32(high))


def _ratio(weight: F32, scales: F32) -> F32:
    """Divide by the scale; a group whose stored scale is zero is all zeros."""
    safe = np.where(scales > 0, scales, np.float32(np.inf))
    return (weight / safe[:, None]).astype(np.float32)


def _nearest(x: F32, levels: F32) -> NDArray[np.intp]:
    """Index of the nearest level; a tie takes the lower."""
    middles = (levels[1:] + levels[:-1]) / 2
    return np.searchsorted(middles, x, side="left")


def _squared_error(rounded: F32, weight: F32) -> NDArray[np.float64]:
    difference = rounded - weight
    squared = difference * difference
    width = -(-weight.shape[1] // ERROR_LANES) * ERROR_LANES
    padded = np.zeros((weight.shape[0], width), np.float32)
    padded[:, : weight.shape[1]] = squared
    lanes = np.zeros((weight.shape[0], ERROR_LANES))
    for start in range(0, width, ERROR_LANES):
        lanes += padded[:, start : start + ERROR_LANES]
    total = np.zeros(weight.shape[0])
    for lane in range(ERROR_LANES):
        total += lanes[:, lane]
    return total
