"""Grids: a weight is a level, less the zero point, times the scale of its group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32
from quant.formats.grid import grid_of
from quant.formats.spec import FormatSpec
from quant.rounding import packing, reference
from quant.rounding.fit import Backend, Fit, fit
from quant.rounding.kernels import rounding as kernels
from quant.rounding.layouts.codec import Arrays, Columns, scales_used
from quant.rounding.packing import U8


class GridCodec:
    """Rounding to nearest under fitted scales."""

    def encode(
        self, weight: F32, spec: FormatSpec, *, importance: F32 | None = None,
        backend: Backend = "numba",
    ) -> Arrays:  # fmt: skip
        """Fit the scales of the groups, then round; ``importance`` plays no part."""
        return encode(weight, spec, fit(weight, spec, backend=backend), backend=backend)

    def decode(self, arrays: Arrays, spec: FormatSpec, shape: tuple[int, int]) -> F32:
        """Return ``(level - zero) * scale``."""
        return decode(arrays, spec, shape, scales_used(arrays, spec))

    def columns(
        self, weight: F32, spec: FormatSpec, diagonal: F32, *, shrinks: tuple[float, ...] = (),
        norm: float = 2.0, weighted: bool = False,
    ) -> Columns:  # fmt: skip
        """Return the format's grid under scales fitted to the unchanged weights."""
        importance = diagonal if weighted and shrinks else None
        groups = fit(weight, spec, shrinks=shrinks, norm=norm, importance=importance)
        grid = grid_of(spec.format, spec.scale_rule)
        return Columns(grid, groups, lambda codes: arrays_of(spec, codes, groups), refits=True)


def encode(weight: F32, spec: FormatSpec, groups: Fit, *, backend: Backend = "numba") -> Arrays:
    """Round ``[out, in]`` weights with given scales, selectors and zero points."""
    grid, size = grid_of(spec.format, spec.scale_rule), min(spec.group_size, weight.shape[1])
    used, selectors, zeros = groups.scales.used, groups.selectors, groups.zeros
    bits = spec.element_bits
    if backend == "numpy":
        codes = reference.encode(weight, size, used, selectors, zeros, grid)
        return arrays_of(spec, packing.pack(codes, bits), groups)
    if grid.is_integer:
        codes = kernels.encode_integer(weight, size, used, zeros, grid, bits)
    else:
        codes = kernels.encode_grid(weight, size, used, selectors, grid, bits)
    return arrays_of(spec, codes, groups)


def arrays_of(spec: FormatSpec, codes: U8, groups: Fit) -> Arrays:
    """Return the arrays of packed codes and the parameters they were rounded with."""
    scales = groups.scales
    arrays: dict[str, NDArray[Any]] = {"codes": codes, "scales": scales.stored}
    if scales.rows is not None:
        arrays["row_scales"] = scales.rows
    if scales.tensor is not None:
        arrays["tensor_scale"] = np.array([scales.tensor], np.float32)
    if spec.selects_per_tensor:
        arrays["selectors"] = groups.selectors[:1, :1].copy()
    elif spec.has_selectors:
        arrays["selectors"] = groups.selectors
    if spec.format.is_asymmetric:
        kind = np.float16 if spec.scale_rule.has_float_zero else np.uint8
        arrays["zero_points"] = groups.zeros.astype(kind)
    return arrays


def decode(arrays: Arrays, spec: FormatSpec, shape: tuple[int, int], scales: F32) -> F32:
    """Return ``(level - zero) * scale`` under scales ``[out, groups]``, ``[out, in]`` float32."""
    size = min(spec.group_size, shape[1])
    return kernels.decode(
        arrays["codes"], spec.element_bits, shape[1], size,
        scales, selectors_of(arrays), zeros_of(arrays), spec.format.tables,
    )  # fmt: skip


def zeros_of(arrays: Arrays) -> F32:
    """Return the zero point of each group, ``[out, groups]`` float32; 0 where there is none."""
    zeros = arrays.get("zero_points")
    if zeros is None:
        return np.zeros(arrays["scales"].shape, np.float32)
    return zeros.astype(np.float32)


def selectors_of(arrays: Arrays) -> U8:
    """Return the candidate of each group, ``[out, groups]`` uint8."""
    selectors, shape = arrays.get("selectors"), arrays["scales"].shape
    if selectors is None:
        return np.zeros(shape, np.uint8)
    return np.ascontiguousarray(np.broadcast_to(selectors, shape))
