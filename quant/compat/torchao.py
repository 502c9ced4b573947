"""torchao 0.18 where it departs from the main path (``quant_primitives.py``, ``mx_formats``).

float32 on torch's CPU kernels. What the main path does not share:

* Integers are multiplied by the reciprocal of their scale, which is kept above an epsilon.
* MX blocks may hold NaN and Inf. Blocks below 2^-126 are divided by another scale than the stored
  one, 2^-126 (``rceil``: a stored 0 means 1); ``rceil`` multiplies by the reciprocal power.
* NVFP4 multiplies by the reciprocal of the block scale, taken after that of the tensor's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quant.cast import SCALAR_TYPES, Convention, cast, decode
from quant.common.errors import RequestError, unknown_name
from quant.formats.elements import F32, FloatType
from quant.formats.scales import (
    E4M3_ELEMENT,
    E4M3_LARGEST,
    E4M3_LEAST,
    E8M0_BIAS,
    power_of_two,
    to_e4m3,
)
from quant.rounding.packing import U8
from quant.tensors.quantize import as_matrix

Mapping = Literal["sym", "sym_noclip", "asym"]
Rule = Literal["floor", "rceil", "even", "ceil"]
EPSILON = float(np.finfo(np.float32).eps)
MX_BLOCK, NVFP4_BLOCK, NAN_SCALE = 32, 16, 255
ELEMENTS = {
    "mxfp8_e4m3": SCALAR_TYPES["e4m3fn"],
    "mxfp8_e5m2": SCALAR_TYPES["e5m2"],
    "mxfp6_e2m3": SCALAR_TYPES["e2m3"],
    "mxfp6_e3m2": SCALAR_TYPES["e3m2"],
    "mxfp4_e2m1": SCALAR_TYPES["e2m1"],
}
_SATURATING: Convention = {"overflow": "saturate", "infinity": "saturate", "nan": "zero"}
_FLOAT8: Convention = {"overflow": "saturate", "infinity": "saturate", "nan": "ones"}


@dataclass(frozen=True)
class Integers:
    """Integers of groups along rows.

    Attributes:
        codes: ``[out, in]`` int16, signed or, for ``asym``, from 0.
        scales: ``[out, groups]`` float32.
        zeros: ``[out, groups]`` int16; 0 where symmetric.
    """

    codes: NDArray[np.int16]
    scales: F32
    zeros: NDArray[np.int16]

    def dequantize(self) -> F32:
        """Return ``(code - zero) * scale``, ``[out, in]`` float32."""
        size = self.codes.shape[1] // self.scales.shape[1]
        steps = (self.codes - np.repeat(self.zeros, size, axis=1)).astype(np.float32)
        return steps * np.repeat(self.scales, size, axis=1)


@dataclass(frozen=True)
class Blocks:
    """Blocks of small floats.

    Attributes:
        codes: ``[out, in]`` uint8, sign-magnitude.
        scales: ``[out, blocks]`` uint8: E8M0 or E4M3.
        tensor_scale: Over all block scales (NVFP4, two levels), else None.
    """

    codes: U8
    scales: U8
    tensor_scale: np.float32 | None = None


def integers(
    weight: F32, bits: int, mapping: Mapping, size: int, *, epsilon: float = EPSILON
) -> Integers:
    """Quantize as ``choose_qparams_affine`` and ``quantize_affine`` do.

    Args:
        weight: ``[out, in]`` float32, finite; ``size`` divides ``in``.
        bits: 1 to 8.
        mapping: ``SYMMETRIC``, ``SYMMETRIC_NO_CLIPPING_ERR`` or ``ASYMMETRIC``.
        size: Group size; 0: a row.
        epsilon: Least scale.

    Raises:
        RequestError: an unknown mapping, or a size that does not divide the row.
    """
    if mapping not in get_args(Mapping):
        raise unknown_name("mapping", mapping, get_args(Mapping))
    groups = _blocks(weight, size or weight.shape[1])
    low, high = np.minimum(groups.min(axis=2), 0), np.maximum(groups.max(axis=2), 0)
    least, most = (
        (0, 2**bits - 1) if mapping == "asym" else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    )
    floor = np.float32(epsilon)
    if mapping == "sym":
        scales = np.maximum(-low, high) / np.float32((most - least) / 2)
    elif mapping == "sym_noclip":
        scales = np.maximum(low / np.float32(least), high / np.float32(most))
    else:
        scales = (high - low) / np.float32(most - least)
    scales = np.maximum(scales, floor).astype(np.float32)
    zeros = np.zeros_like(scales)
    if mapping == "asym":
        zeros = np.clip(least - np.rint(low / scales), least, most)
    steps = groups * (np.float32(1) / scales)[:, :, None]
    codes = np.clip(np.rint(steps) + zeros[:, :, None], least, most)
    return Integers(codes.reshape(weight.shape).astype(np.int16), scales, zeros.astype(np.int16))


def mx(weight: F32, element: str, rule: Rule) -> Blocks:
    """Quantize as ``to_mx`` does, NaN and Inf included.

    Args:
        weight: ``[out, in]`` float32; 32 divides ``in``.
        element: A key of ``ELEMENTS``.
        rule: ``floor``, ``rceil``, ``even`` or ``ceil``.

    Raises:
        RequestError: an unknown element or rule, or a size that 32 does not divide.
    """
    if element not in ELEMENTS:
        raise unknown_name("element", element, ELEMENTS)
    if rule not in get_args(Rule):
        raise unknown_name("rule", rule, get_args(Rule))
    type_ = ELEMENTS[element]
    blocks = _blocks(weight, MX_BLOCK)
    with np.errstate(invalid="ignore", over="ignore"):
        largest = np.abs(blocks).max(axis=2)
        if rule == "rceil":
            scales = _rceil(largest / np.float32(type_.maximum))
            scaled = blocks * _reciprocals(scales)[:, :, None]
        else:
            scales = _exponents(largest, rule, type_.maximum, type_.mantissa_bits)
            # E8M0's bits as float32's exponent: 0 would be 0, 255 is Inf.
            used = (scales.astype(np.int32) << 23).view(np.float32)
            used = np.where(
                np.isnan(largest) | (scales == NAN_SCALE), used, np.maximum(used, 2.0**-126)
            )
            scaled = blocks / used.astype(np.float32)[:, :, None]
    return Blocks(_cast(scaled.reshape(weight.shape), element), scales)


def nvfp4(weight: F32, tensor_scale: float | None = None) -> Blocks:
    """Quantize as ``nvfp4_quantize`` does; ``tensor_scale``: two levels (``amax / 2688``).

    Raises:
        RequestError: a size that 16 does not divide, NaN or Inf.
    """
    blocks = _blocks(as_matrix(weight), NVFP4_BLOCK)
    whole = None if tensor_scale is None else np.float32(tensor_scale)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        wanted = np.abs(blocks).max(axis=2) / np.float32(6)
        wanted = wanted if whole is None else wanted / whole
        scales = to_e4m3(np.clip(wanted, E4M3_LEAST, E4M3_LARGEST))
        unit = np.float32(1) if whole is None else np.float32(1) / whole
        scaled = blocks * (unit / E4M3_ELEMENT.levels[scales])[:, :, None]
    scaled = np.clip(scaled, np.float32(-6), np.float32(6)).reshape(weight.shape)
    return Blocks(_cast(scaled, "mxfp4_e2m1"), scales, whole)


def decode_mx(blocks: Blocks, element: str) -> F32:
    """Return the values of MX blocks, ``[out, in]`` float32; NaN where the scale is."""
    values = decode(blocks.codes, ELEMENTS[element])
    with np.errstate(over="ignore"):
        return values * np.repeat(power_of_two(blocks.scales), MX_BLOCK, axis=1)


def decode_nvfp4(blocks: Blocks) -> F32:
    """Return the values of NVFP4 blocks, ``[out, in]`` float32."""
    scales = E4M3_ELEMENT.levels[blocks.scales]
    if blocks.tensor_scale is not None:
        scales = scales * blocks.tensor_scale
    return decode(blocks.codes, ELEMENTS["mxfp4_e2m1"]) * np.repeat(scales, NVFP4_BLOCK, axis=1)


def _blocks(weight: F32, size: int) -> F32:
    rows, columns = weight.shape
    if size < 1 or columns % size:
        raise RequestError(f"rows of {columns} are not whole groups of {size}")
    return np.ascontiguousarray(weight, np.float32).reshape(rows, columns // size, size)


def _exponents(largest: F32, rule: str, top: float, mantissa_bits: int) -> U8:
    bits = largest.view(np.int32)
    if rule == "even":
        bits = np.where(np.isnan(largest), bits, bits + (1 << (22 - mantissa_bits)))
    exponents = (bits >> 23) & 0xFF
    if rule == "ceil":
        exponents = exponents + ((bits & 0x7FFFFF) > 0)
    exponents = np.clip(exponents - int(np.log2(top)), 0, NAN_SCALE)
    return np.where(np.isnan(largest), NAN_SCALE, exponents).astype(np.uint8)


def _rceil(descale: F32) -> U8:
    with np.errstate(divide="ignore"):
        power = np.ceil(np.log2(descale))
    power = np.where(np.isfinite(power), np.clip(power, -E8M0_BIAS, E8M0_BIAS), -E8M0_BIAS)
    codes = np.where(np.isinf(descale), NAN_SCALE - 1, power + E8M0_BIAS)
    return np.where(np.isnan(descale), NAN_SCALE, codes).astype(np.uint8)


def _reciprocals(scales: U8) -> F32:
    powers = np.ldexp(np.float32(1), E8M0_BIAS - scales.astype(np.int32))
    powers = np.where(scales == 0, np.float32(1), powers)
    return np.where(scales == NAN_SCALE, np.float32(np.nan), powers).astype(np.float32)


def _cast(scaled: F32, element: str) -> U8:
    type_ = ELEMENTS[element]
    if element.startswith("mxfp8"):
        return cast(scaled, type_, **_FLOAT8)
    codes = cast(scaled, type_, **_SATURATING)
    return np.where(np.isnan(scaled), _nan_codes(scaled, type_), codes)


def _nan_codes(scaled: F32, element: FloatType) -> U8:
    """What the bits of NaN come to when they are rounded like a number's (FP4 and FP6)."""
    drop = 23 - element.mantissa_bits
    pattern = scaled.view(np.int32).astype(np.int64)
    magnitude = pattern & 0x7FFFFFFF
    rounded = magnitude + ((element.bias - 127) << 23) + (1 << drop - 1) - 1
    rounded += (magnitude >> drop) & 1
    sign = np.where(pattern < 0, element.negative_zero, 0)
    return ((rounded >> drop) & 0xFF | sign).astype(np.uint8)
