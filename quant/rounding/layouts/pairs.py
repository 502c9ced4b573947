"""OliVe as a format: scales searched for each row, codes by ``quant.rounding.layouts.olive``.

The search is the release's: 3 sigma of the row times 0.75 to 1.49 in steps of 2 %, the least
squared error wins (ISCA 2023, arXiv 2304.07493).
"""

from __future__ import annotations

import numpy as np

from quant.formats.elements import F32
from quant.formats.scales import store_scales
from quant.formats.spec import FormatSpec
from quant.rounding.kernels import rounding as kernels
from quant.rounding.layouts import olive
from quant.tensors.tensor import QuantizedTensor

FACTORS = tuple(percent / 100 for percent in range(75, 150, 2))


def quantize(weight: F32, spec: FormatSpec) -> QuantizedTensor:
    """Return ``[out, in]`` weights as outlier-victim pairs under one scale a row."""
    base = base_of(spec)
    mean, deviation = weight.mean(axis=1), weight.std(axis=1)
    threshold = np.maximum(np.abs(mean + 3 * deviation), np.abs(mean - 3 * deviation))
    least, best = np.full(weight.shape[0], np.inf), np.zeros(weight.shape[0], np.float32)
    for factor in FACTORS:
        scale = _scale(threshold * np.float32(factor), base, spec.scale)
        error = np.square(_rounded(weight, scale, base) - weight).sum(axis=1, dtype=np.float64)
        better = error < least
        least[better], best[better] = error[better], threshold[better] * np.float32(factor)
    found = store_scales(_raw(best, base), spec.scale)
    codes = olive.encode(weight, _used(found.used), base)
    shape = (weight.shape[0], weight.shape[1])
    packed = kernels.pack(np.ascontiguousarray(codes), spec.format.element_bits)
    return QuantizedTensor(spec, shape, packed, found.stored, found.rows)


def decode(tensor: QuantizedTensor) -> F32:
    """Return the weights that the codes mean, ``[out, in]`` float32."""
    base = base_of(tensor.spec)
    return olive.decode(tensor.unpack_codes(), _used(tensor.group_scales()), base)


def base_of(spec: FormatSpec) -> str:
    """Return the base type of a pair format, such as ``int4``."""
    return spec.format.name.removeprefix("olive-")


def _raw(alpha: F32, base: str) -> F32:
    top = np.float32(np.nanmax(olive.normal_levels(base)))
    return np.ascontiguousarray((alpha / top)[:, None], np.float32)


def _used(scales: F32) -> F32:
    """A row without spread has scale 0: all its weights are alike, and 1 keeps division safe."""
    return np.where(scales > 0, scales, np.float32(1))


def _scale(alpha: F32, base: str, kind: str) -> F32:
    return _used(store_scales(_raw(alpha, base), kind).used)


def _rounded(weight: F32, scale: F32, base: str) -> F32:
    return olive.decode(olive.encode(weight, scale, base), scale, base)
