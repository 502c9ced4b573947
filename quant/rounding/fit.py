"""The parameters of every group: scale rules, choice among candidates, clipping search.

``fit`` finds scales, selectors and zero points of a weight; ``quant.quantize`` rounds with them.
Methods call the same two steps, so any grid format goes through each of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.formats.elements import F32, IntType
from quant.formats.format import Format
from quant.formats.grid import Grid, grid_of
from quant.formats.rules import Extremes
from quant.formats.scale_kind import Scales
from quant.formats.scales import E4M3_LARGEST
from quant.formats.spec import FormatSpec
from quant.rounding import reference
from quant.rounding.lift import lift_of, lifted
from quant.rounding.packing import U8

Backend = Literal["numba", "numpy"]
_ABOVE = 1.0001
"""A largest scale this far above absmax over top is no rounding: a range, or a half step more."""


@dataclass(frozen=True)
class Fit:
    """What rounding needs of every group, ``[out, groups]`` each.

    Attributes:
        scales: As stored and as used.
        selectors: Index of the candidate in ``format.tables``.
        zeros: Zero points as used; zeros for symmetric formats.
    """

    scales: Scales
    selectors: U8
    zeros: F32


def fit(
    weight: F32,
    spec: FormatSpec,
    *,
    shrinks: tuple[float, ...] = (),
    norm: float = 2.0,
    importance: F32 | None = None,
    factors: tuple[F32, F32] | None = None,
    within: Scales | None = None,
    backend: Backend = "numba",
) -> Fit:
    """Find scales, selectors and zero points.

    Args:
        weight: ``[out, in]`` float32, finite.
        spec: A grid format.
        shrinks: Multiples of the range to try; the one with the least error wins, the first of
            equals. None: the format's rule alone.
        norm: Errors are summed to this power (with shrinks; GPTQ's code: 2.4).
        importance: ``[in]``, how much the error of each column counts (with shrinks).
        factors: ``[out, groups]`` each: multiples of the least and the greatest weight of every
            group, for clipping that was found elsewhere.
        within: Row and tensor scales to stay under, when ``weight`` is a part of a larger one.
        backend: Fused kernels, or the numpy reference; the results are equal.

    Raises:
        RequestError: NaN or Inf among the weights (with its index).
    """
    entry, rule = spec.format, spec.scale_rule
    grid = grid_of(entry, rule)
    size = min(spec.group_size, weight.shape[1])
    low, high = _extrema(weight, size, spec, backend)
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise not_finite(weight)
    if factors is not None:
        low, high = low * factors[0], high * factors[1]
    raw = raw_scales(low, high, grid, spec)
    if within is None and spec.has_tensor_scale:
        within = tensor_scale(
            np.maximum(np.abs(low), np.abs(high)).max(), raw[0], grid, rule.divides_by_tensor
        )
    shrinks = rule.shrinks or shrinks
    if spec.scale.is_coarse and not shrinks and entry.candidates > 1:
        raw = np.stack([_store(part, spec, within).used for part in raw])
    selectors = np.zeros(raw.shape[1:], np.uint8)
    if shrinks:
        zeros = zero_points(low, raw[0], spec)
        sought = _Search(np.array(shrinks, np.float32), norm, importance, backend)
        selectors, factor = sought.run(weight, size, raw, zeros, grid, entry)
        raw, low = raw * factor, low * factor
    elif entry.candidates > 1:
        lift = lift_of(np.maximum(np.abs(low), np.abs(high)))
        found = (lifted(weight, lift, size), size, lifted(raw, lift), grid)
        selectors = _choose(backend)(*found)
    chosen = raw[0]
    if len(raw) > 1:
        chosen = np.take_along_axis(raw, selectors[None].astype(np.intp), axis=0)[0]
    scales = _store(np.ascontiguousarray(chosen), spec, within)
    return Fit(scales, selectors, zero_points(low, scales.used, spec))


def not_finite(weight: F32) -> RequestError:
    """Return the error that names the first weight that is no finite number."""
    row, column = (int(i) for i in np.argwhere(~np.isfinite(weight))[0])
    return RequestError(f"weight [{row}, {column}] is {weight[row, column]}: only finite values")


def raw_scales(low: F32, high: F32, grid: Grid, spec: FormatSpec) -> F32:
    """Return the scale of every candidate before it is stored, ``[candidates, out, groups]``.

    No scale is too small; one beyond float32 is float32's largest. ``low`` and ``high`` are the
    extreme weights of each group (for absmean: the mean magnitude).
    """
    rule = spec.scale_rule
    with np.errstate(over="ignore"):
        raw = rule.raw(Extremes(low, high, grid.tops, spec.format.element))
    return np.minimum(raw, np.finfo(np.float32).max).astype(np.float32)


def tensor_scale(absmax: np.float32, raw: F32, grid: Grid, inverse: bool) -> Scales:
    """Return NVFP4's scale of a tensor, under which its largest group scale is E4M3's largest.

    Args:
        absmax: The greatest magnitude of the tensor.
        raw: Scales of the groups before they are stored.
        grid: The format's levels.
        inverse: One by which group scales are divided (compressed-tensors 0.20).
    """
    most = E4M3_LARGEST * grid.tops.min()
    if not inverse:
        whole = np.float32(absmax / most)
        if raw.max() > np.float32(_ABOVE) * whole * E4M3_LARGEST:
            whole = raw.max() / E4M3_LARGEST
        return Scales(raw, None, raw, whole or np.float32(1))
    with np.errstate(over="ignore"):
        # torch divides a number by a tensor as the number times the tensor's reciprocal.
        factor = np.float32(most * (1 / np.maximum(absmax, np.finfo(np.float32).tiny)))
    factor = factor if np.isfinite(factor) else np.float32(1)
    return Scales(raw, None, raw, factor, inverse=True)


def zero_points(low: F32, used: F32, spec: FormatSpec) -> F32:
    """Return the zero points under the scales in use, ``[out, groups]`` float32."""
    entry = spec.format
    if not entry.is_asymmetric:
        return np.zeros(used.shape, np.float32)
    if spec.scale_rule.with_zero:
        low = np.minimum(low, 0)
    ratio = -low / np.where(used > 0, used, np.float32(np.inf))
    if spec.scale_rule.has_float_zero:
        return np.clip(ratio, -65504, 65504).astype(np.float16).astype(np.float32)
    assert isinstance(entry.element, IntType)
    return np.clip(np.rint(ratio), 0, entry.element.maximum).astype(np.float32)


def _store(raw: F32, spec: FormatSpec, within: Scales | None) -> Scales:
    return spec.scale.store(raw) if within is None else spec.scale.store_under(raw, within)


def _extrema(weight: F32, size: int, spec: FormatSpec, backend: Backend) -> tuple[F32, F32]:
    """Least and greatest weight of each group; for absmean the mean magnitude, twice."""
    if spec.scale_rule.of_mean or backend == "numpy":
        return reference.extrema(weight, size, spec.scale_rule.of_mean)
    from quant.rounding.kernels import rounding as kernels

    return kernels.extrema(weight, size)


def _choose(backend: Backend) -> Callable[[F32, int, F32, Grid], U8]:
    if backend == "numpy":
        return reference.choose
    from quant.rounding.kernels.choose import choose

    return choose


@dataclass(frozen=True)
class _Search:
    """A search over multiples of the range of every group."""

    shrinks: F32
    norm: float
    importance: F32 | None
    backend: Backend

    def run(
        self, weight: F32, size: int, raw: F32, zeros: F32, grid: Grid, entry: Format
    ) -> tuple[U8, F32]:
        """Return selectors and the factor of the chosen candidate, ``[out, groups]`` each."""
        counts = self.importance
        if counts is None:
            counts = np.ones(weight.shape[1], np.float32)
        found = (weight, size, raw, zeros, grid.levels, grid.thresholds, self.shrinks)
        if self.norm != 2.0:
            error, best = reference.search_norm(*found, counts, self.norm)
        elif self.backend == "numpy":
            error, best = reference.search(*found, counts)
        else:
            from quant.rounding.kernels.search import search

            error, best = search(*found, self.importance)
        selectors = error.argmin(axis=0).astype(np.uint8)
        if entry.selects_per_tensor:
            total: NDArray[np.float64] = error.sum(axis=(1, 2))
            selectors[:] = total.argmin()
        chosen = np.take_along_axis(best, selectors[None].astype(np.intp), axis=0)[0]
        return selectors, self.shrinks[chosen]
