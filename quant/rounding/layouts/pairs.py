"""OliVe as a format: scales searched for each row, codes by ``quant.rounding.layouts.olive``.

The search is the release's: 3 sigma of the row times 0.75 to 1.49 in steps of 2 %, the least
squared error wins (ISCA 2023, arXiv 2304.07493).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32
from quant.formats.layout import PairLayout
from quant.formats.spec import FormatSpec
from quant.rounding.fit import Backend
from quant.rounding.kernels import rounding as kernels
from quant.rounding.layouts import olive
from quant.rounding.layouts.codec import Arrays, Columns, not_by_columns, scales_used, unpacked
from quant.rounding.lift import lift_of, lifted

FACTORS = tuple(percent / 100 for percent in range(75, 150, 2))


class PairCodec:
    """Outlier-victim pairs under one scale a row."""

    def encode(
        self, weight: F32, spec: FormatSpec, *, importance: F32 | None = None,
        backend: Backend = "numba",
    ) -> Arrays:  # fmt: skip
        """Search the scale of every row, then round; ``importance`` plays no part."""
        base, kind = base_of(spec), spec.scale
        lift = lift_of(np.abs(weight).max(axis=1, keepdims=True))
        threshold = lifted(_threshold(lifted(weight, lift, weight.shape[1])), -lift)[:, 0]
        least, best = np.full(weight.shape[0], np.inf), np.zeros(weight.shape[0], np.float32)
        for factor in FACTORS:
            scale = _used(kind.store(_raw(threshold * np.float32(factor), base)).used)
            missed = lifted(_rounded(weight, scale, base) - weight, lift, weight.shape[1])
            error = np.square(missed).sum(axis=1, dtype=np.float64)
            better = error < least
            least[better], best[better] = error[better], threshold[better] * np.float32(factor)
        scales = kind.store(_raw(best, base))
        codes = olive.encode(weight, _used(scales.used), base)
        packed = kernels.pack(np.ascontiguousarray(codes), spec.element_bits)
        arrays: dict[str, NDArray[Any]] = {"codes": packed, "scales": scales.stored}
        return arrays if scales.rows is None else arrays | {"row_scales": scales.rows}

    def decode(self, arrays: Arrays, spec: FormatSpec, shape: tuple[int, int]) -> F32:
        """Return the levels of normal codes and outliers times the row's scale."""
        scales = _used(scales_used(arrays, spec))
        return olive.decode(unpacked(arrays, spec, shape[1]), scales, base_of(spec))

    def columns(
        self, weight: F32, spec: FormatSpec, diagonal: F32, *, shrinks: tuple[float, ...] = (),
        norm: float = 2.0, weighted: bool = False,
    ) -> Columns:  # fmt: skip
        """Raise: a code may belong to two weights."""
        raise not_by_columns(spec)


def base_of(spec: FormatSpec) -> str:
    """Return the base type of a pair format, such as ``int4``."""
    layout = spec.format.layout
    assert isinstance(layout, PairLayout)  # the codec's own
    return layout.base


def _threshold(weight: F32) -> F32:
    """Three standard deviations from the mean of each row, ``[out, 1]``."""
    mean, deviation = weight.mean(axis=1, keepdims=True), weight.std(axis=1, keepdims=True)
    threshold: F32 = np.maximum(np.abs(mean + 3 * deviation), np.abs(mean - 3 * deviation))
    return threshold


def _raw(alpha: F32, base: str) -> F32:
    top = np.float32(np.nanmax(olive.normal_levels(base)))
    return np.ascontiguousarray((alpha / top)[:, None], np.float32)


def _used(scales: F32) -> F32:
    """A row without spread has scale 0: all its weights are alike, and 1 keeps division safe."""
    return np.where(scales > 0, scales, np.float32(1))


def _rounded(weight: F32, scale: F32, base: str) -> F32:
    return olive.decode(olive.encode(weight, scale, base), scale, base)
