"""compressed-tensors 0.20 where it departs from the main path, and its dense packing.

Symmetric integers, MXFP4, MXFP6, MXFP8 and NVFP4 are the main path's (``int4:full-range``,
``mxfp4:even``, ``mxfp6-e2m3:even``, ``mxfp8-e4m3:even-e2m1``, ``nvfp4:global``). Asymmetric
integers differ: the zero point is added before rounding, and codes are signed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.rounding import packing
from quant.tensors.quantize import as_matrix

I8 = NDArray[np.int8]
WORD = 32


@dataclass(frozen=True)
class Asymmetric:
    """Asymmetric integers: ``(code - zero) * scale``.

    Attributes:
        codes: ``[out, in]`` int8, from ``-2^(b-1)``.
        scales: ``[out, groups]`` float32.
        zeros: ``[out, groups]`` int8.
    """

    codes: I8
    scales: F32
    zeros: I8

    def dequantize(self) -> F32:
        """Return ``[out, in]`` float32."""
        size = self.codes.shape[1] // self.scales.shape[1]
        zeros, scales = np.repeat(self.zeros, size, 1), np.repeat(self.scales, size, 1)
        steps = self.codes.astype(np.float32) - zeros.astype(np.float32)
        found: F32 = steps * scales
        return found


def asymmetric(weight: F32, bits: int = 4, size: int = 128) -> Asymmetric:
    """Quantize as ``calculate_qparams`` and ``quantize`` do with ``symmetric=False``.

    Args:
        weight: ``[out, in]`` float32, finite.
        bits: 1 to 8.
        size: Group size; it divides ``in``.

    Raises:
        RequestError: rows that are not whole groups, NaN or Inf.
    """
    weight = as_matrix(weight)
    rows, columns = weight.shape
    if size < 1 or columns % size:
        raise RequestError(f"rows of {columns} are not whole groups of {size}")
    groups = weight.reshape(rows, -1, size)
    low, high = np.minimum(groups.min(axis=2), 0), np.maximum(groups.max(axis=2), 0)
    least, most = np.float32(-(2 ** (bits - 1))), np.float32(2 ** (bits - 1) - 1)
    scales = (high - low) / np.float32(2**bits - 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        zeros = np.clip(least - low / scales, least, most)
    # Groups of zeros: 0/0, which torch's cast to integers makes 0, and its epsilon for a scale.
    zeros = np.rint(np.nan_to_num(zeros)).astype(np.float32)
    scales = np.where(scales == 0, np.finfo(np.float32).eps, scales).astype(np.float32)
    shifted = groups / scales[:, :, None] + zeros[:, :, None]
    codes = np.rint(np.clip(shifted, least, most)).reshape(rows, columns)
    return Asymmetric(codes.astype(np.int8), scales, zeros.astype(np.int8))


def pack_to_int32(codes: I8, bits: int) -> NDArray[np.int32]:
    """Return signed codes ``[rows, n]`` packed without gaps, ``[rows, ceil(n*bits/32)]``.

    Code ``i`` lies at bits ``i*bits`` and up of its row, ``2^(bits-1)`` added.

    Raises:
        RequestError: codes that do not fit the width.
    """
    half = 1 << (bits - 1)
    unsigned = codes.astype(np.int16) + half
    if not 1 <= bits <= 8 or unsigned.min(initial=0) < 0 or unsigned.max(initial=0) >= 2 * half:
        raise RequestError(f"codes do not fit {bits} bits (allowed: 1 to 8, {-half} to {half - 1})")
    packed = packing.pack(unsigned.astype(np.uint8), bits)
    whole = -(-codes.shape[1] * bits // WORD) * 4
    padded = np.zeros((codes.shape[0], whole), np.uint8)
    padded[:, : packed.shape[1]] = packed
    return padded.view("<i4")


def unpack_from_int32(packed: NDArray[np.int32], bits: int, columns: int) -> I8:
    """The inverse of ``pack_to_int32``, ``[rows, columns]`` int8."""
    data = np.ascontiguousarray(packed, "<i4").view(np.uint8)
    unsigned = packing.unpack(data[:, : (columns * bits + 7) // 8], bits, columns)
    return (unsigned.astype(np.int16) - (1 << (bits - 1))).astype(np.int8)
