"""The steps of half-quadratic quantization as hqq 0.2.8 released them.

Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023): scale from
the range, then the zero point is moved against an l_p norm (p = 0.7) of the error, by shrinkage;
the released step neither anneals beta nor moves the scale. ``quant.methods.hqq`` makes a method of
them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32

LARGEST_INVERSE, LEAST_RANGE = np.float32(2e4), 1e-4


class HqqResult(NamedTuple):
    """``(code - zero) * scale``: codes ``[n, group]`` uint8, scales and zeros ``[n]`` float32."""

    codes: NDArray[np.uint8]
    scales: F32
    zeros: F32


def quantize_groups(
    groups: F32,
    bits: int,
    *,
    optimize: bool = True,
    round_zero: bool = False,
    beta: float = 10.0,
    p: float = 0.7,
    iterations: int = 20,
) -> HqqResult:
    """Return groups ``[n, group]`` float32 as codes ``0 .. 2^bits - 1``, zero points moved.

    Args:
        groups: Finite weights.
        bits: 1 to 8.
        optimize: Move the zero points; else keep those of the range.
        round_zero: Start from integer zero points (the release: at 4 bits).
        beta: Weight of the quadratic term.
        p: Norm of the error, below 1 so that outliers count little.
        iterations: At most; the loop ends when the mean error grows.
    """
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    top = np.float32(2**bits - 1)
    spread = high - low
    safe = np.where(np.abs(spread) <= LEAST_RANGE, np.float32(1), spread)
    inverse = np.where(np.abs(spread) <= LEAST_RANGE, np.float32(1), top / safe)
    inverse = np.minimum(inverse, LARGEST_INVERSE).astype(np.float32)
    zeros = (-low * inverse).astype(np.float32)
    if round_zero:
        zeros = np.rint(zeros)
    if optimize:
        zeros = _optimized(groups, inverse, zeros, top, beta, p, iterations)
    codes = np.clip(np.rint(groups * inverse + zeros), 0, top).astype(np.uint8)
    return HqqResult(codes, (1 / inverse)[:, 0].astype(np.float32), zeros[:, 0])


def _optimized(
    groups: F32, inverse: F32, zeros: F32, top: np.float32, beta: float, p: float, iterations: int
) -> F32:
    best = np.inf
    for _ in range(iterations):
        codes = np.clip(np.rint(groups * inverse + zeros), 0, top)
        rounded = (codes - zeros) / inverse
        sparse = shrunk(groups - rounded, beta, p)
        moved = (codes - (groups - sparse) * inverse).mean(axis=1, keepdims=True)
        error = float(np.abs(groups - rounded).mean())
        if error >= best:
            break
        best, zeros = error, moved.astype(np.float32)
    return zeros


def shrunk(x: F32, beta: float, p: float) -> F32:
    """Proximal step of the l_p norm: ``sign(x) * relu(|x| - |x|^(p-1) / beta)``."""
    magnitude = np.abs(x)
    with np.errstate(divide="ignore"):
        threshold = np.power(magnitude, np.float32(p - 1)) / np.float32(beta)
    result: F32 = np.sign(x) * np.maximum(magnitude - threshold, np.float32(0))
    return result
