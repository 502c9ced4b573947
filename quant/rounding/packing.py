"""Dense bit packing: codes of any width from 1 to 8 bits, least significant bit first.

A row of ``n`` codes of ``b`` bits takes ``ceil(n*b/8)`` bytes; the bits left over are zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

U8 = NDArray[np.uint8]


def pack(codes: U8, bits: int) -> U8:
    """Return ``codes [rows, n]`` packed, ``[rows, ceil(n*bits/8)]``.

    Example:
        >>> pack(np.array([[1, 2, 3, 4]], np.uint8), 3).tolist()
        [[209, 8]]
    """
    if bits == 8:
        return codes.copy()
    planes = (codes[:, :, None] >> np.arange(bits, dtype=np.uint8)) & np.uint8(1)
    return np.packbits(planes.reshape(codes.shape[0], -1), axis=1, bitorder="little")


def unpack(packed: U8, bits: int, columns: int) -> U8:
    """Return the codes ``[rows, columns]`` of a packed array ``[rows, ceil(columns*bits/8)]``."""
    if bits == 8:
        return packed.copy()
    planes = np.unpackbits(packed, axis=1, count=columns * bits, bitorder="little")
    weights = np.left_shift(np.uint8(1), np.arange(bits, dtype=np.uint8))
    return planes.reshape(packed.shape[0], columns, bits) @ weights
