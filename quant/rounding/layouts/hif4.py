"""HiFloat4: 64 signed 4-bit elements under an E6M2 scale and one-bit exponents for 8 and for 4.

``value = S * 2^(e8 + e4) * p``; p is ``0, 0.25 .. 1.75`` (arXiv 2602.11287). The conversion follows
Huawei's quant_cy_npu (hifx v14), whose scale steps are in bfloat16; elements round half away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.rounding.kernels import rounding as kernels
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor

GROUP, E6M2_BIAS = 64, 48
LEAST, MOST = np.float32(2.0**-48), np.float32(1.5 * 2.0**15)


def bf16(values: F32) -> F32:
    """Return values rounded to bfloat16, half to even, as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


def quantize(weight: F32, spec: FormatSpec) -> QuantizedTensor:
    """Return ``[out, in]`` weights as HiF4; a short last group is filled with zeros."""
    rows, columns = weight.shape
    groups = -(-columns // GROUP)
    padded = np.zeros((rows, groups * GROUP), np.float32)
    padded[:, :columns] = weight
    magnitude = np.abs(padded).reshape(rows, groups, 16, 4)
    codes, scale = _scale(magnitude.max(axis=(2, 3)))
    inverse = bf16(np.float32(1) / scale)[..., None]
    max4 = magnitude.max(axis=3)
    e8 = (max4.reshape(rows, groups, 8, 2).max(axis=3) * inverse >= 4).astype(np.uint8)
    both = np.repeat(e8, 2, axis=2)
    e4 = (max4 * inverse / np.exp2(both.astype(np.float32)) >= 2).astype(np.uint8)
    divided = magnitude * inverse[..., None] / np.exp2((both + e4).astype(np.float32))[..., None]
    quarters = np.minimum(np.floor(divided * 4 + np.float32(0.5)), 7).astype(np.uint8)
    sign = np.signbit(padded).reshape(magnitude.shape).astype(np.uint8)
    elements = (quarters | sign << 3).reshape(rows, -1)[:, :columns]
    exponents = np.concatenate([e8, e4], axis=2)
    micro = np.packbits(exponents, axis=2, bitorder="little")
    packed = kernels.pack(np.ascontiguousarray(elements), 4)
    return QuantizedTensor(spec, (rows, columns), packed, codes, micro_exponents=micro)


def decode(tensor: QuantizedTensor) -> F32:
    """Return ``S * 2^(e8 + e4) * p``, ``[out, in]`` float32."""
    assert tensor.micro_exponents is not None
    columns = tensor.shape[1]
    bits = np.unpackbits(tensor.micro_exponents, axis=2, bitorder="little").astype(np.float32)
    exponents = np.repeat(bits[:, :, :8], 8, axis=2) + np.repeat(bits[:, :, 8:], 4, axis=2)
    scale = e6m2(tensor.scales.astype(np.uint8))
    factors = (scale[..., None] * np.exp2(exponents)).reshape(tensor.shape[0], -1)[:, :columns]
    levels: F32 = tensor.spec.format.element.levels[tensor.unpack_codes()]  # type: ignore[union-attr]
    return levels * factors.astype(np.float32)


def e6m2(codes: U8) -> F32:
    """Return the values of E6M2 codes: ``(1 + m/4) * 2^(e - 48)``, without sign."""
    mantissa = 1 + (codes & 3).astype(np.float32) / 4
    return np.ldexp(mantissa, (codes >> 2).astype(np.int32) - E6M2_BIAS).astype(np.float32)


def _scale(absmax: F32) -> tuple[U8, F32]:
    """E6M2 codes and values of the scales: bf16(absmax/7), to two mantissa bits half to even."""
    seventh = bf16(absmax * bf16(np.array(1 / 7, np.float32)))
    mantissa, exponent = np.frexp(np.clip(seventh, LEAST, MOST))
    quarters = np.rint(mantissa * 8).astype(np.int32)  # 4..8
    whole: NDArray[np.int32] = (exponent - 1 + E6M2_BIAS) * 4 + (quarters - 4)
    codes = np.clip(whole, 0, 63 * 4 + 2).astype(np.uint8)
    return codes, e6m2(codes)
