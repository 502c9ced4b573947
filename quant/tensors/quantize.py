"""quantize(): a weight becomes a QuantizedTensor by rounding to nearest.

Data types are chosen with the unquantized scales; codes are rounded against the scale that will
be used, as stored.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.format import ROW, Format
from quant.formats.grid import grid_of
from quant.formats.spec import DEFAULT_GROUP, DEFAULT_SCALE, FormatSpec, parse_spec
from quant.rounding import packing, reference
from quant.rounding.fit import Backend, Fit, fit, not_finite
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor


def quantize(
    weight: Any,  # noqa: ANN401  anything numpy or torch can turn into an array
    format: str | Format | FormatSpec,
    *,
    group_size: int | None = None,
    scale: str | None = None,
    backend: Backend = "numba",
) -> QuantizedTensor:
    """Round a weight to the nearest codes of a format.

    Args:
        weight: ``[out, in]`` array or torch tensor of any float type and memory order; more
            dimensions are flattened to ``[out, -1]``. All values must be finite.
        format: ``NAME[:gGROUP|row][:SCALE][:RULE]``, such as ``"bitmod3:g128:int8"``, or a
            Format of your own.
        group_size: Overrides the string's group size (default 128, or the format's own); the last
            group of a row may be shorter.
        scale: Overrides the string's scale: ``fp16`` (default), ``fp32``, ``int8``, ``e8m0`` or
            ``e4m3``.
        backend: ``"numba"`` or the readable ``"numpy"`` reference; the codes are equal.

    Raises:
        RequestError: an unknown format, scale or rule, an empty or meta weight, NaN or Inf (with
            its index), or a format that is not quantized (fp32, fp16, bf16).

    Example:
        >>> qt = quantize(np.eye(4, 128, dtype=np.float32), "bitmod3", scale="int8")
        >>> qt.shape, qt.dequantize()[0, 0] > 0.99
        ((4, 128), np.True_)
    """
    spec = specification(format, group_size, scale)
    if spec.format.layout != "grid":
        from quant.rounding.layouts import layout as layouts

        return layouts.quantize(as_matrix(weight), spec)
    array = as_matrix(weight, check=False)  # fit looks at all weights anyway
    return encode(array, spec, fit(array, spec, backend=backend), backend=backend)


def encode(
    weight: F32, spec: FormatSpec, found: Fit, *, backend: Backend = "numba"
) -> QuantizedTensor:
    """Round ``[out, in]`` weights with given scales, selectors and zero points."""
    grid, size = grid_of(spec.format, spec.scale_rule), min(spec.group_size, weight.shape[1])
    used, selectors, zeros = found.scales.used, found.selectors, found.zeros
    if backend == "numpy":
        codes = reference.encode(weight, size, used, selectors, zeros, grid)
        return assemble(spec, weight.shape, packing.pack(codes, spec.format.element_bits), found)
    from quant.rounding.kernels import rounding as kernels

    bits = spec.format.element_bits
    if grid.is_integer:
        codes = kernels.encode_integer(weight, size, used, zeros, grid, bits)
    else:
        codes = kernels.encode_grid(weight, size, used, selectors, grid, bits)
    return assemble(spec, weight.shape, codes, found)


def assemble(spec: FormatSpec, shape: tuple[int, ...], codes: U8, found: Fit) -> QuantizedTensor:
    """Return the tensor of packed codes and the parameters they were rounded with."""
    entry, scales = spec.format, found.scales
    selectors = found.selectors if entry.selector_bits else None
    if entry.candidates > 1 and entry.selection == "tensor":
        selectors = found.selectors[:1, :1].copy()
    zeros = None
    if entry.is_asymmetric:
        zeros = found.zeros.astype(np.float16 if spec.scale_rule == "float-zero" else np.uint8)
    tensor = None if scales.tensor is None else np.array([scales.tensor], np.float32)
    return QuantizedTensor(
        spec, (shape[0], shape[1]), codes, scales.stored, scales.rows, selectors, zeros, tensor
    )


def as_matrix(weight: Any, *, check: bool = True) -> F32:  # noqa: ANN401  as above
    """Return a weight as a contiguous finite ``[out, in]`` float32 array.

    ``check=False``: whoever asks will see to it that all values are finite.

    Raises:
        RequestError: it is empty, has fewer than two dimensions, is on the meta device, or holds
            NaN or Inf.
    """
    if hasattr(weight, "detach"):
        if weight.device.type == "meta":
            raise RequestError("a weight on the meta device has no values: load it first")
        weight = weight.detach().float().cpu().numpy()
    array = np.ascontiguousarray(weight, dtype=np.float32)
    if array.ndim < 2 or array.size == 0:
        raise RequestError(f"a weight of shape {array.shape} cannot be quantized: [out, in] needed")
    array = array.reshape(array.shape[0], -1)
    if check and not _all_finite(array):
        raise not_finite(array)
    return array


def _all_finite(array: F32) -> bool:
    from quant.rounding.kernels import rounding as kernels

    # In the order of their bits, which the extrema go by, NaN and Inf lie beyond all numbers.
    return bool(np.isfinite(kernels.extrema(array, array.shape[1])).all())


def specification(
    format_: str | Format | FormatSpec, group_size: int | None = None, scale: str | None = None
) -> FormatSpec:
    """Return the specification of a format that weights can be quantized to.

    Raises:
        RequestError: as ``quantize``.
    """
    if isinstance(format_, Format):
        size = format_.group_size or DEFAULT_GROUP
        format_ = FormatSpec(format_, size, format_.scale or DEFAULT_SCALE)
    spec = parse_spec(format_) if isinstance(format_, str) else format_
    size = spec.group_size if group_size is None else group_size
    spec = FormatSpec(spec.format, size, scale or spec.scale, spec.rule)
    if spec.format.is_plain:
        raise RequestError(f"format {spec.format.name!r} is stored as it is: nothing to quantize")
    return spec


__all__ = ["ROW", "as_matrix", "assemble", "encode", "quantize", "specification"]
