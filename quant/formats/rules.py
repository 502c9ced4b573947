"""Scale rules: how the scale of a group is found from its weights, before it is stored.

A rule is an object; ``raw`` gives the scale of every candidate, the flags say what else differs.
To add a rule, make a ``ScaleRule`` and name it in a format's ``rules``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32, Element, FloatType, IntType
from quant.formats.scales import E8M0_BIAS, exponent_above

_MX_MANTISSA = 6
"""Mantissa bits that the rule ``even`` rounds to where the element is no float (MXINT8)."""
ANT_SHRINKS = tuple(percent / 100 for percent in range(75, 150))
"""ANT's search: 0.75 to 1.49 times the absolute maximum (release, w_low=75, w_up=150)."""


class Extremes(NamedTuple):
    """What a rule sees of every group, and of the format.

    Attributes:
        low: Least weight, ``[out, groups]`` float32; for rules of the mean: the mean magnitude.
        high: Greatest weight; for rules of the mean: the mean magnitude.
        tops: The level that the largest weight is scaled to, ``[candidates]`` float32.
        element: What codes stand for.
    """

    low: F32
    high: F32
    tops: F32
    element: Element

    @property
    def absmax(self) -> F32:
        """The greatest magnitude of every group."""
        return np.maximum(np.abs(self.low), np.abs(self.high))


RawScales = Callable[[Extremes], F32]
"""Returns the scale of every candidate before it is stored, ``[candidates, out, groups]``."""


@dataclass(frozen=True)
class ScaleRule:
    """A way to find scales.

    Attributes:
        name: What users type.
        raw: The scales before they are stored.
        of_mean: Whether it looks at the mean magnitude of a group in place of its extremes.
        with_zero: Whether the range of an asymmetric format is widened to hold 0.
        has_float_zero: Whether zero points are fp16 numbers, not codes.
        uses_full_range: Whether the most negative two's complement code is produced.
        shrinks: Multiples of the scale that are tried; the least squared error wins.
        is_one_level: Whether a kind of scale that could have a tensor's scale above has none.
        divides_by_tensor: Whether group scales are divided by the tensor's (compressed-tensors'
            ``global_scale``), not multiplied.
    """

    name: str
    raw: RawScales
    of_mean: bool = False
    with_zero: bool = False
    has_float_zero: bool = False
    uses_full_range: bool = False
    shrinks: tuple[float, ...] = ()
    is_one_level: bool = False
    divides_by_tensor: bool = False

    def __str__(self) -> str:
        return self.name


def _absmax(seen: Extremes) -> F32:
    """The greatest magnitude over the top level; for asymmetric formats the range."""
    if isinstance(seen.element, IntType) and not seen.element.symmetric:
        return _range(seen)
    return np.stack([seen.absmax / top for top in seen.tops])


def _range(seen: Extremes) -> F32:
    with np.errstate(over="ignore"):
        spread = seen.high - seen.low
    scales: F32 = spread / seen.tops[0]
    if np.isinf(spread).any():  # beyond float32, which the quotient need not be
        scales = np.where(np.isinf(spread), _halved_range(seen), scales)
    return scales[None]


def _halved_range(seen: Extremes) -> F32:
    half: F32 = (seen.high / 2 - seen.low / 2) / (seen.tops[0] / 2)
    return half


def _range_with_float_zero(seen: Extremes) -> F32:
    """At least 2^-15 of the greatest magnitude: a zero point is fp16, at most 65504.

    A group far from 0 that spreads little would otherwise lose its values; stored scales may be
    smaller by nearly half.
    """
    scales: F32 = np.maximum(_range(seen), seen.absmax * np.float32(2.0**-15))
    return scales


def _range_with_zero(seen: Extremes) -> F32:
    low, high = np.minimum(seen.low, 0), np.maximum(seen.high, 0)
    return _range(seen._replace(low=low, high=high))


def _full_range(seen: Extremes) -> F32:
    scales: F32 = (seen.absmax / np.float32((2**seen.element.bits - 1) / 2))[None]
    return scales


def _no_clip(seen: Extremes) -> F32:
    """As torchao's SYMMETRIC_NO_CLIPPING_ERR: neither end of -2^(b-1)..2^(b-1)-1 is exceeded."""
    half = np.float32(2 ** (seen.element.bits - 1))
    below, above = -np.minimum(seen.low, 0) / half, np.maximum(seen.high, 0) / (half - 1)
    scales: F32 = np.maximum(below, above)[None]
    return scales


def _absmean(seen: Extremes) -> F32:
    return seen.high[None]


def _power(exponent: NDArray[np.int32], absmax: F32) -> F32:
    """``2^exponent``; 2^-127 for a group of zeros."""
    exponent = np.where(absmax > 0, exponent, -E8M0_BIAS)
    return np.ldexp(np.float32(1), np.clip(exponent, -E8M0_BIAS, E8M0_BIAS)).astype(np.float32)


def _log2(top: np.float32) -> int:
    return int(np.floor(np.log2(float(top))))


def _mx_floor(seen: Extremes) -> F32:
    """OCP MX v1.0, section 6.3."""
    floor = np.frexp(seen.absmax)[1] - 1
    return np.stack([_power(floor - _log2(top), seen.absmax) for top in seen.tops])


def _mx_rceil(seen: Extremes) -> F32:
    """NVIDIA cuBLAS: nothing is clipped."""
    parts = []
    for top in seen.tops:
        exponent = exponent_above((seen.absmax / np.float32(top)).astype(np.float32))
        parts.append(_power(exponent, seen.absmax))
    return np.stack(parts)


def _mx_even(seen: Extremes) -> F32:
    """AMD Quark: the greatest magnitude is rounded to the element's mantissa first."""
    width = seen.element.mantissa_bits if isinstance(seen.element, FloatType) else _MX_MANTISSA
    return _mx_rounded(seen, width)


def _mx_even_e2m1(seen: Extremes) -> F32:
    """compressed-tensors' MXFP8: rounded to one bit of mantissa, whatever the element's."""
    return _mx_rounded(seen, 1)


def _mx_rounded(seen: Extremes, width: int) -> F32:
    floor = np.frexp(seen.absmax)[1] - 1
    mantissa = np.ldexp(seen.absmax, -floor)
    floor = floor + (mantissa >= 2 - 2.0 ** -(width + 1))
    return np.stack([_power(floor - _log2(top), seen.absmax) for top in seen.tops])


def _mx_ceil(seen: Extremes) -> F32:
    """torchao: the exponent above the greatest magnitude."""
    above = exponent_above(seen.absmax)
    return np.stack([_power(above - _log2(top), seen.absmax) for top in seen.tops])


ABSMAX = ScaleRule("absmax", _absmax)
FULL_RANGE = ScaleRule("full-range", _full_range, uses_full_range=True)
NO_CLIP = ScaleRule("no-clip", _no_clip, uses_full_range=True)
MINMAX = ScaleRule("minmax", _range)
MINMAX_ZERO = ScaleRule("minmax-zero", _range_with_zero, with_zero=True)
FLOAT_ZERO = ScaleRule("float-zero", _range_with_float_zero, has_float_zero=True)
ABSMEAN = ScaleRule("absmean", _absmean, of_mean=True)
SEARCH = ScaleRule("search", _absmax, shrinks=ANT_SHRINKS)
K_MEANS = ScaleRule("k-means", _absmax)
TWO_LEVEL = ScaleRule("two-level", _absmax)
ONE_LEVEL = ScaleRule("one-level", _absmax, is_one_level=True)
GLOBAL = ScaleRule("global", _absmax, divides_by_tensor=True)
FLOOR = ScaleRule("floor", _mx_floor)
RCEIL = ScaleRule("rceil", _mx_rceil)
EVEN = ScaleRule("even", _mx_even)
EVEN_E2M1 = ScaleRule("even-e2m1", _mx_even_e2m1)
CEIL = ScaleRule("ceil", _mx_ceil)
SYMMETRIC = (ABSMAX, FULL_RANGE, NO_CLIP)
ASYMMETRIC = (MINMAX_ZERO, MINMAX, FLOAT_ZERO)
MX = (FLOOR, RCEIL, EVEN, CEIL, EVEN_E2M1)
