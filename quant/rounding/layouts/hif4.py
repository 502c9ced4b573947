"""HiFloat4: 64 signed 4-bit elements under an E6M2 scale and one-bit exponents for 8 and for 4.

``value = S * 2^(e8 + e4) * p``; p is ``0, 0.25 .. 1.75`` (arXiv 2602.11287). The conversion follows
Huawei's quant_cy_npu (hifx v14), whose scale steps are in bfloat16; elements round half away.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32
from quant.formats.scales import E6M2
from quant.formats.spec import FormatSpec
from quant.rounding.fit import Backend
from quant.rounding.kernels import rounding as kernels
from quant.rounding.layouts.codec import Arrays, Columns, not_by_columns, scales_used, unpacked
from quant.rounding.packing import U8

GROUP = 64
LEAST, MOST = np.float32(2.0**-48), np.float32(1.5 * 2.0**15)


def bf16(values: F32) -> F32:
    """Return values rounded to bfloat16, half to even, as float32."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    rounded = bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return (rounded & np.uint32(0xFFFF0000)).view(np.float32)


class Hif4Codec:
    """Groups of 64 under an E6M2 scale and one-bit exponents."""

    def encode(
        self, weight: F32, spec: FormatSpec, *, importance: F32 | None = None,
        backend: Backend = "numba",
    ) -> Arrays:  # fmt: skip
        """Round; a short last group is filled with zeros; ``importance`` plays no part."""
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
        divided = (
            magnitude * inverse[..., None] / np.exp2((both + e4).astype(np.float32))[..., None]
        )
        quarters = np.minimum(np.floor(divided * 4 + np.float32(0.5)), 7).astype(np.uint8)
        sign = np.signbit(padded).reshape(magnitude.shape).astype(np.uint8)
        elements = (quarters | sign << 3).reshape(rows, -1)[:, :columns]
        exponents = np.concatenate([e8, e4], axis=2)
        micro = np.packbits(exponents, axis=2, bitorder="little")
        packed = kernels.pack(np.ascontiguousarray(elements), spec.element_bits)
        return {"codes": packed, "scales": codes, "micro_exponents": micro}

    def decode(self, arrays: Arrays, spec: FormatSpec, shape: tuple[int, int]) -> F32:
        """Return ``S * 2^(e8 + e4) * p``."""
        rows, columns = shape
        bits = np.unpackbits(arrays["micro_exponents"], axis=2, bitorder="little")
        bits = bits.astype(np.float32)
        exponents = np.repeat(bits[:, :, :8], 8, axis=2) + np.repeat(bits[:, :, 8:], 4, axis=2)
        scale = scales_used(arrays, spec)
        factors = (scale[..., None] * np.exp2(exponents)).reshape(rows, -1)[:, :columns]
        levels: F32 = spec.format.tables[0][unpacked(arrays, spec, columns)]
        return levels * factors.astype(np.float32)

    def columns(
        self, weight: F32, spec: FormatSpec, diagonal: F32, *, shrinks: tuple[float, ...] = (),
        norm: float = 2.0, weighted: bool = False,
    ) -> Columns:  # fmt: skip
        """Raise: exponents are shared by weights."""
        raise not_by_columns(spec)


def _scale(absmax: F32) -> tuple[U8, F32]:
    """E6M2 codes and values of the scales: bf16(absmax/7), to two mantissa bits half to even."""
    seventh = bf16(absmax * bf16(np.array(1 / 7, np.float32)))
    mantissa, exponent = np.frexp(np.clip(seventh, LEAST, MOST))
    quarters = np.rint(mantissa * 8).astype(np.int32)  # 4..8
    whole: NDArray[np.int32] = (exponent - 1 + E6M2.bias) * 4 + (quarters - 4)
    codes = np.clip(whole, 0, 63 * 4 + 2).astype(np.uint8)
    return codes, E6M2.used(codes)
