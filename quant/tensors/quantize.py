"""quantize(): a weight becomes a QuantizedTensor by rounding to nearest.

Data types are chosen with the unquantized scales; codes are rounded against the scale that will
be used, as stored.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from quant.common import arguments
from quant.common.errors import RequestError
from quant.common.sizes import need_memory
from quant.formats.elements import F32
from quant.formats.format import Format
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec, specification
from quant.rounding.fit import Backend, Fit, not_finite
from quant.rounding.layouts.codecs import codec_of
from quant.tensors.tensor import QuantizedTensor

BYTES = 8
"""Of a value, about: as float32, its code, and what is compared on the way."""


def quantize(
    weight: Any,  # noqa: ANN401  anything numpy or torch can turn into an array
    format: str | Format | FormatSpec,
    *,
    group_size: int | None = None,
    scale: str | ScaleKind | None = None,
    backend: Backend = "numba",
) -> QuantizedTensor:
    """Round a weight to the nearest codes of a format.

    Args:
        weight: ``[out, in]`` array or torch tensor of any real type and memory order; more
            dimensions are flattened to ``[out, -1]``. All values must be finite. Integers are
            numbers like others; complex numbers, bools, objects and texts are refused.
        format: ``NAME[:gGROUP|row][:SCALE][:RULE]``, such as ``"bitmod3:g128:int8"``, or a
            Format of your own.
        group_size: Overrides the string's group size (default 128, or the format's own); the last
            group of a row may be shorter.
        scale: Overrides the string's scale: ``fp16`` (default), ``fp32``, ``int8``, ``e8m0`` or
            ``e4m3``.
        backend: ``"numba"`` or the readable ``"numpy"`` reference; the codes are equal.

    Raises:
        RequestError: an unknown format, scale or rule, an empty or meta weight, NaN or Inf (with
            its index), or a format that is not quantized (fp32, fp16, bf16). An argument of a
            wrong type is an ``ArgumentTypeError``, which is a RequestError and a TypeError.

    Example:
        >>> qt = quantize(np.eye(4, 128, dtype=np.float32), "bitmod3", scale="int8")
        >>> qt.shape, qt.dequantize()[0, 0] > 0.99
        ((4, 128), np.True_)
    """
    spec = specification(format, group_size, scale)
    arguments.choice("backend", backend, get_args(Backend))
    array = as_matrix(weight, check=not spec.format.layout.is_grid)  # fit looks at all anyway
    return round_to_nearest(array, spec, backend=backend)


def round_to_nearest(
    weight: F32,
    spec: FormatSpec,
    *,
    importance: F32 | None = None,
    backend: Backend = "numba",
) -> QuantizedTensor:
    """Round a matrix ``[out, in]`` float32; see ``quant.rounding.layouts.codec.Codec.encode``."""
    codec = codec_of(spec.format.layout)
    arrays = codec.encode(weight, spec, importance=importance, backend=backend)
    return QuantizedTensor.of(spec, (weight.shape[0], weight.shape[1]), arrays)


def encode(
    weight: F32, spec: FormatSpec, groups: Fit, *, backend: Backend = "numba"
) -> QuantizedTensor:
    """Round ``[out, in]`` weights to a grid with given scales, selectors and zero points."""
    from quant.rounding.layouts import grid

    arrays = grid.encode(weight, spec, groups, backend=backend)
    return QuantizedTensor.of(spec, (weight.shape[0], weight.shape[1]), arrays)


def as_matrix(weight: Any, *, check: bool = True) -> F32:  # noqa: ANN401  as above
    """Return a weight as a contiguous finite ``[out, in]`` float32 array.

    ``check=False``: whoever asks will see to it that all values are finite.

    Raises:
        RequestError: it is no array of real numbers, is empty, has fewer than two dimensions, is
            on the meta device, or holds NaN or Inf.
    """
    array = real_array("weight", weight)
    if array.ndim < 2 or array.size == 0:
        raise RequestError(f"a weight of shape {array.shape} cannot be quantized: [out, in] needed")
    with np.errstate(over="ignore"):  # beyond float32 is Inf, which is refused
        array = np.ascontiguousarray(array, dtype=np.float32)
    array = array.reshape(array.shape[0], -1)
    if check and not _all_finite(array):
        raise not_finite(array)
    return array


def real_array(name: str, values: Any) -> NDArray[Any]:  # noqa: ANN401  as above
    """Return an argument as an array of real numbers, of its own shape and type.

    Tensors of types that numpy lacks become float32.

    Raises:
        RequestError: on the meta device, or of complex numbers, bools, objects or texts.
    """
    if hasattr(values, "detach") and hasattr(values, "device"):
        if values.device.type == "meta":
            raise RequestError(f"a {name} on the meta device has no values: load it first")
        if values.dtype.is_complex:
            raise arguments.wrong_type(name, values, f"real numbers, not {values.dtype},")
    shape = tuple(getattr(values, "shape", ()))
    if all(isinstance(size, int) for size in shape):  # may be expanded: larger than what it holds
        need_memory(BYTES * math.prod(shape), f"a {name} of shape {shape}", "take parts of it")
    try:
        if hasattr(values, "detach") and hasattr(values, "device"):
            values = values.detach().cpu()
            if values.dtype.is_floating_point and values.dtype.itemsize != 8:
                values = values.float()
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise arguments.wrong_type(name, values, f"an array ({error})") from None
    # Types of ml_dtypes, such as bfloat16, are numbers that numpy has no letter for.
    if array.dtype.kind not in "fiu" and (array.dtype.kind != "V" or array.dtype.type is np.void):
        raise arguments.wrong_type(name, values, f"an array of real numbers, not {array.dtype},")
    return array


def _all_finite(array: F32) -> bool:
    from quant.rounding.kernels import rounding as kernels

    # In the order of their bits, which the extrema go by, NaN and Inf lie beyond all numbers.
    return bool(np.isfinite(kernels.extrema(array, array.shape[1])).all())


__all__ = ["as_matrix", "encode", "quantize", "round_to_nearest", "specification"]
