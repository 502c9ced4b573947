"""BitNet b1.58 as transformers 5.23 has it (``integrations/bitnet.py``): ternary, two bits a code.

The main path's ``ternary`` has a scale a group; here one serves the tensor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.compat.ant import torch_sum
from quant.formats.elements import F32
from quant.rounding.packing import U8

EPSILON = np.float32(1e-5)
PER_BYTE = 4


def ternary(weight: F32) -> tuple[NDArray[np.int8], np.float32]:
    """Return codes -1..1 of the shape of ``weight``, and ``mean(|w|)``, at least 1e-5."""
    flat = np.abs(np.ascontiguousarray(weight, np.float32)).reshape(1, -1)
    mean = np.float32(torch_sum(flat)[0] / np.float32(flat.size))
    scale = np.maximum(mean, EPSILON)
    codes = np.clip(np.rint(weight * (np.float32(1) / scale)), -1, 1)
    return codes.astype(np.int8), scale


def dequantize(codes: NDArray[np.int8], scale: np.float32) -> F32:
    """Return ``code / (1 / scale)``: two roundings, as the library divides."""
    return codes.astype(np.float32) / (np.float32(1) / scale)


def pack(codes: NDArray[np.int8]) -> U8:
    """Return four codes a byte, ``[rows/4, columns]``: of rows r, r + rows/4, ..., lowest first.

    Raises:
        RequestError: rows that 4 does not divide.
    """
    if codes.shape[0] % PER_BYTE:
        raise RequestError(f"{codes.shape[0]} rows are not a multiple of {PER_BYTE}")
    parts = (codes + 1).astype(np.uint8).reshape(PER_BYTE, -1, codes.shape[1])
    packed = np.zeros(parts.shape[1:], np.uint8)
    for index, part in enumerate(parts):
        packed |= part << np.uint8(2 * index)
    return packed


def unpack(packed: U8) -> NDArray[np.int8]:
    """The inverse of ``pack``, ``[rows, columns]``."""
    parts = [(packed >> np.uint8(2 * index)) & np.uint8(3) for index in range(PER_BYTE)]
    return np.concatenate(parts).astype(np.int8) - np.int8(1)
