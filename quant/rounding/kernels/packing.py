"""Dense packing of a row of codes, the twin of ``quant.rounding.packing``: eight codes at a time.

Eight codes of ``b`` bits fill exactly ``b`` bytes. They are gathered from, or spread over, the
eight bytes of one word in three steps (pairs, fours, eights), each a shift and a mask. The words
are little endian, as on every machine that numba compiles for.
"""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from quant.common.jit import jit, parallel
from quant.rounding.packing import U8

U64 = NDArray[np.uint64]

# The lower one of two neighbours: single codes in every second byte, pairs in every second half
# of a word's half, fours in its lower half.
_EVERY_SECOND = (0x00FF00FF00FF00FF, 0x0000FFFF0000FFFF, 0x00000000FFFFFFFF)


@jit
def _gathered(word: np.uint64, bits: int) -> np.uint64:
    """Eight codes, one a byte, as ``8 * bits`` neighbouring bits."""
    shift = np.uint64(8 - bits)
    for lower in _EVERY_SECOND:
        low = np.uint64(lower)
        word = (word & low) | ((word & ~low) >> shift)
        shift += shift
    return word


@jit
def _spread(word: np.uint64, bits: int) -> np.uint64:
    """The inverse of ``_gathered``."""
    fours, pairs, single = np.uint64(4 * bits), np.uint64(2 * bits), np.uint64(bits)
    low = (np.uint64(1) << fours) - np.uint64(1)
    word = (word & low) | ((word & ~low) << (np.uint64(32) - fours))
    low = ((np.uint64(1) << pairs) - np.uint64(1)) * np.uint64(0x0000000100000001)
    word = (word & low) | ((word & ~low) << (np.uint64(16) - pairs))
    low = ((np.uint64(1) << single) - np.uint64(1)) * np.uint64(0x0001000100010001)
    return (word & low) | ((word & ~low) << (np.uint64(8) - single))


@jit
def words(n: int) -> int:
    """Bytes of scratch for ``n`` codes: whole words."""
    return (n + 7) // 8 * 8


@jit
def _pack_words(eights: U64, bits: int, packed: U8) -> None:
    whole = packed.size // bits
    for e in range(whole):
        word = _gathered(eights[e], bits)
        for byte in range(bits):
            packed[bits * e + byte] = np.uint8(word >> np.uint64(8 * byte))
    for byte in range(packed.size - bits * whole):
        word = _gathered(eights[whole], bits)
        packed[bits * whole + byte] = np.uint8(word >> np.uint64(8 * byte))


@jit
def _unpack_words(packed: U8, bits: int, eights: U64) -> None:
    whole = packed.size // bits
    for e in range(whole):
        word = np.uint64(0)
        for byte in range(bits):
            word |= np.uint64(packed[bits * e + byte]) << np.uint64(8 * byte)
        eights[e] = _spread(word, bits)
    if whole < eights.size:
        word = np.uint64(0)
        for byte in range(packed.size - bits * whole):
            word |= np.uint64(packed[bits * whole + byte]) << np.uint64(8 * byte)
        eights[whole] = _spread(word, bits)


@jit
def pack_row(codes: U8, n: int, bits: int, packed: U8) -> None:
    """Pack ``codes[:n]``; ``codes`` has ``words(n)`` bytes, those past ``n`` zero."""
    eights = codes[: words(n)].view(np.uint64)
    if bits == 4:  # neighbours alone: the compiler vectorises it
        for k in range(packed.size):
            packed[k] = codes[2 * k] | (codes[2 * k + 1] << np.uint8(4))
    elif bits == 8:
        packed[:] = codes[:n]
    elif bits == 3:  # a constant: the compiler unrolls the loop over bytes
        _pack_words(eights, 3, packed)
    elif bits == 6:
        _pack_words(eights, 6, packed)
    else:
        _pack_words(eights, bits, packed)


@jit
def unpack_row(packed: U8, n: int, bits: int, codes: U8) -> None:
    """The inverse of ``pack_row``."""
    eights = codes[: words(n)].view(np.uint64)
    if bits == 4:
        for k in range(packed.size):
            codes[2 * k] = packed[k] & np.uint8(15)
            codes[2 * k + 1] = packed[k] >> np.uint8(4)
    elif bits == 8:
        codes[:n] = packed
    elif bits == 3:
        _unpack_words(packed, 3, eights)
    elif bits == 6:
        _unpack_words(packed, 6, eights)
    else:
        _unpack_words(packed, bits, eights)


@parallel
def _pack(codes: U8, bits: int, packed: U8) -> None:
    for row in numba.prange(codes.shape[0]):
        scratch = np.zeros(words(codes.shape[1]), np.uint8)
        scratch[: codes.shape[1]] = codes[row]
        pack_row(scratch, codes.shape[1], bits, packed[row])


@parallel
def _unpack(packed: U8, bits: int, codes: U8) -> None:
    for row in numba.prange(codes.shape[0]):
        scratch = np.empty(words(codes.shape[1]), np.uint8)
        unpack_row(packed[row], codes.shape[1], bits, scratch)
        codes[row] = scratch[: codes.shape[1]]


def pack(codes: U8, bits: int) -> U8:
    """Dense packing as ``rounding.packing.pack`` does it, ``[rows, ceil(columns*bits/8)]``."""
    # numpy allocates: its large arrays take huge pages, compiled code's are faulted in bit by bit.
    packed = np.empty((codes.shape[0], (codes.shape[1] * bits + 7) // 8), np.uint8)
    _pack(codes, bits, packed)
    return packed


def unpack(packed: U8, bits: int, columns: int) -> U8:
    """The inverse of ``pack``, ``[rows, columns]``."""
    codes = np.empty((packed.shape[0], columns), np.uint8)
    _unpack(packed, bits, codes)
    return codes
