"""quantize(): a weight becomes a QuantizedTensor by rounding to nearest.

Data types are chosen with the unquantized scales; codes are rounded against the scale that will
be used, as stored (fp16, fp32, or 8 bits under one fp16 scale a row).
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant import packing, reference
from quant.common.errors import RequestError
from quant.datatypes import F32, IntType
from quant.formats import FormatSpec, parse_spec
from quant.packing import U8
from quant.tensor import QuantizedTensor

Backend = Literal["numba", "numpy"]
INT8_SCALE_MAX = 255
FP16_SMALLEST, FP16_LARGEST = 2.0**-24, 65504.0


class Scales(NamedTuple):
    """Group scales as stored, ``[out, groups]``, their row scales, and as used in float32."""

    stored: NDArray[np.generic]
    rows: NDArray[np.float16] | None
    used: F32


def quantize(
    weight: Any,  # noqa: ANN401  anything numpy or torch can turn into an array
    format: str | FormatSpec,
    *,
    group_size: int | None = None,
    scale: str | None = None,
    backend: Backend = "numba",
) -> QuantizedTensor:
    """Round a weight to the nearest codes of a format.

    Args:
        weight: ``[out, in]`` array or torch tensor; more dimensions are flattened to
            ``[out, -1]``. All values must be finite.
        format: ``NAME[:gGROUP][:SCALE]``, such as ``"bitmod3:g128:int8"``.
        group_size: Overrides the string's group size (default 128); the last group of a row may
            be shorter.
        scale: Overrides the string's scale: ``fp16`` (default), ``fp32`` or ``int8``.
        backend: ``"numba"`` or the readable ``"numpy"`` reference; the codes are equal.

    Raises:
        RequestError: an unknown format or scale, an empty weight, NaN or Inf (with its index),
            or a format that is not quantized (fp32, fp16, bf16).

    Example:
        >>> qt = quantize(np.eye(4, 128, dtype=np.float32), "bitmod3", scale="int8")
        >>> qt.shape, qt.dequantize()[0, 0] > 0.99
        ((4, 128), np.True_)
    """
    spec = _spec(format, group_size, scale)
    array = as_matrix(weight)
    steps = _numba_steps if backend == "numba" else _numpy_steps
    return steps(array, spec)


def as_matrix(weight: Any) -> F32:  # noqa: ANN401  as above
    """Return a weight as a contiguous finite ``[out, in]`` float32 array.

    Raises:
        RequestError: it is empty, has fewer than two dimensions, or holds NaN or Inf.
    """
    if hasattr(weight, "detach"):
        weight = weight.detach().float().cpu().numpy()
    array = np.ascontiguousarray(weight, dtype=np.float32)
    if array.ndim < 2 or array.size == 0:
        raise RequestError(f"a weight of shape {array.shape} cannot be quantized: [out, in] needed")
    array = array.reshape(array.shape[0], -1)
    if not np.isfinite(array).all():
        row, column = (int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise RequestError(f"weight [{row}, {column}] is {array[row, column]}: only finite values")
    return array


def store_scales(scales: F32, kind: str) -> Scales:
    """Return scales ``[out, groups]`` as the given kind stores them.

    int8: one fp16 scale a row, ``S = max/255`` rounded up so that no group is clipped by it;
    a group's 8-bit scale is ``round(s/S)``, at least 1.
    """
    if kind == "fp32":
        return Scales(scales, None, scales)
    if kind == "fp16":
        half = np.clip(scales, FP16_SMALLEST, FP16_LARGEST).astype(np.float16)
        return Scales(half, None, half.astype(np.float32))
    wanted = scales.max(axis=1) / np.float32(INT8_SCALE_MAX)
    row = np.clip(wanted, FP16_SMALLEST, FP16_LARGEST).astype(np.float16)
    row = np.where(row.astype(np.float32) < wanted, np.nextafter(row, np.float16(np.inf)), row)
    row = np.minimum(row, np.float16(FP16_LARGEST))
    row32 = row.astype(np.float32)[:, None]
    eight = np.clip(np.rint(scales / row32), 1, INT8_SCALE_MAX).astype(np.uint8)
    return Scales(eight, row, eight.astype(np.float32) * row32)


def _spec(format_: str | FormatSpec, group_size: int | None, scale: str | None) -> FormatSpec:
    spec = parse_spec(format_) if isinstance(format_, str) else format_
    size = spec.group_size if group_size is None else group_size
    spec = FormatSpec(spec.format, size, scale or spec.scale)
    if spec.format.is_plain:
        raise RequestError(f"format {spec.format.name!r} is stored as it is: nothing to quantize")
    return spec


def _grids(spec: FormatSpec) -> tuple[F32, U8, F32]:
    """Rising levels and their codes, ``[candidates, n]``, and the largest magnitude of each."""
    pairs = [reference.sorted_grid(table) for table in spec.format.tables]
    levels = np.stack([levels for levels, _ in pairs])
    return levels, np.stack([codes for _, codes in pairs]), np.abs(levels).max(axis=1)


def _numba_steps(weight: F32, spec: FormatSpec) -> QuantizedTensor:
    """Fit, store the scales, encode and pack with the fused kernels."""
    from quant import kernels  # numba takes half a second to import

    size, entry = min(spec.group_size, weight.shape[1]), spec.format
    low, high = (np.float32(bound) for bound in entry.scale_range)
    selectors, zeros = None, None
    top = np.float32(entry.tables.max())
    if not isinstance(entry.element, IntType):
        levels, codes_of, tops = _grids(spec)
        raw, selectors = kernels.fit_grid(weight, size, levels, tops, low, high)
        scales = store_scales(raw, spec.scale)
        codes = kernels.encode_grid(weight, size, scales.used, selectors, levels, codes_of)
    elif entry.element.symmetric:
        scales = store_scales(kernels.fit_symmetric(weight, size, top, low, high), spec.scale)
        mask = 2**entry.element_bits - 1
        codes = kernels.encode_symmetric(weight, size, scales.used, top, mask)
    else:
        scales = store_scales(kernels.fit_asymmetric(weight, size, top, low, high), spec.scale)
        codes, zeros = kernels.encode_asymmetric(weight, size, scales.used, top)
    return _assemble(
        spec, weight, kernels.pack(codes, entry.element_bits), scales, selectors, zeros
    )


def _numpy_steps(weight: F32, spec: FormatSpec) -> QuantizedTensor:
    """The same steps with the reference, group position by group position."""
    entry, groups = spec.format, spec.groups(weight.shape[1])
    blocks = [weight[:, g * spec.group_size : (g + 1) * spec.group_size] for g in range(groups)]
    grid = not isinstance(entry.element, IntType)
    symmetric = isinstance(entry.element, IntType) and entry.element.symmetric
    selectors, zeros = None, None
    if grid:
        fits = [reference.fit_grid(block, entry) for block in blocks]
        raw = np.stack([fit[0] for fit in fits], axis=1)
        selectors = np.stack([fit[1] for fit in fits], axis=1)
    else:
        fit = reference.fit_symmetric if symmetric else reference.fit_asymmetric
        raw = np.stack([fit(block, entry) for block in blocks], axis=1)
    scales = store_scales(raw, spec.scale)
    used = [scales.used[:, g] for g in range(groups)]
    if selectors is not None:
        chosen = [selectors[:, g] for g in range(groups)]
        parts = [
            reference.encode_grid(*args, entry) for args in zip(blocks, used, chosen, strict=True)
        ]
    elif symmetric:
        parts = [
            reference.encode_symmetric(*args, entry) for args in zip(blocks, used, strict=True)
        ]
    else:
        pairs = [
            reference.encode_asymmetric(*args, entry) for args in zip(blocks, used, strict=True)
        ]
        parts = [pair[0] for pair in pairs]
        zeros = np.stack([pair[1] for pair in pairs], axis=1)
    codes = packing.pack(np.concatenate(parts, axis=1), entry.element_bits)
    return _assemble(spec, weight, codes, scales, selectors, zeros)


def _assemble(
    spec: FormatSpec, weight: F32, codes: U8, scales: Scales, selectors: U8 | None, zeros: U8 | None
) -> QuantizedTensor:
    kept = selectors if spec.format.selector_bits else None
    shape = (weight.shape[0], weight.shape[1])
    return QuantizedTensor(spec, shape, codes, scales.stored, scales.rows, kept, zeros)
