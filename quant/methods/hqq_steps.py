"""The steps of half-quadratic quantization, as hqq 0.2.8 released them.

Badri and Shaji, "Half-Quadratic Quantization of Large Machine Learning Models" (2023): scale from
the range, then the zero point is moved against an l_p norm (p = 0.7) of the error, by shrinkage;
the released step neither anneals beta (its setting kappa plays no part) nor moves the scale.
``quant.methods.hqq`` makes a method of them; ``quant.compat.hqq`` adds the release's bounds of
scales.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32

LARGEST_ZERO = np.float32(2.0**15)
"""Zero points of a range lie below: fp16 holds them, under a scale that is stored smaller too."""


class HqqResult(NamedTuple):
    """``(code - zero) * scale``: codes ``[n, group]`` uint8, scales and zeros ``[n]`` float32."""

    codes: NDArray[np.uint8]
    scales: F32
    zeros: F32


def inverse_scales(groups: F32, bits: int) -> F32:
    """Return one over the scale of each group's range, ``[n, 1]``; 1 for a group of zeros.

    Groups that spread little, far from zero, have a scale of at least 2^-15 of their greatest
    magnitude, so that 16-bit floats hold their zero points.
    """
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    top, absmax = np.float32(2**bits - 1), np.maximum(np.abs(low), np.abs(high))
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        inverse = np.minimum(top / (high - low), LARGEST_ZERO / absmax)
    bounded: F32 = np.minimum(inverse, np.finfo(np.float32).max)
    return np.where(absmax > 0, bounded, np.float32(1)).astype(np.float32)


def quantize_groups(
    groups: F32,
    bits: int,
    inverse: F32,
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
        inverse: One over the scale of each group, ``[n, 1]`` (``inverse_scales``).
        optimize: Move the zero points; else keep those of the range.
        round_zero: Start from integer zero points (the release: at 4 bits).
        beta: Weight of the quadratic term.
        p: Norm of the error, below 1 so that outliers count little.
        iterations: At most; the loop ends when the mean error grows.
    """
    top = np.float32(2**bits - 1)
    zeros = (-groups.min(axis=1, keepdims=True) * inverse).astype(np.float32)
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
        zeros = (codes - (groups - sparse) * inverse).mean(axis=1, keepdims=True)
        zeros = zeros.astype(np.float32)
        error = float(np.abs(groups - rounded).mean())
        if error >= best:  # the release moves the zero point before it looks
            break
        best = error
    return zeros


def shrunk(x: F32, beta: float, p: float) -> F32:
    """Proximal step of the l_p norm: ``sign(x) * relu(|x| - |x|^(p-1) / beta)``."""
    magnitude = np.abs(x)
    with np.errstate(divide="ignore"):
        threshold = np.power(magnitude, np.float32(p - 1)) / np.float32(beta)
    result: F32 = np.sign(x) * np.maximum(magnitude - threshold, np.float32(0))
    return result
