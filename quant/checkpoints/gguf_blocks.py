"""The block types of GGUF: layouts of ggml-quants (ggml-common.h), decoded in its order of work.

A block holds 32 or 256 weights with scales of its own. Products and differences are float32, in
the order of ggml's reference (``dequantize_row_*``), so that values are equal bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32, FloatType
from quant.formats.scales import power_of_two
from quant.rounding.packing import U8

Split = Callable[[U8], tuple[NDArray[np.generic], U8]]
# llama.cpp's table for IQ4_NL.
_NONLINEAR = np.array(
    [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113], np.float32
)
_E2M1 = FloatType(2, 1).levels


@dataclass(frozen=True)
class BlockType:
    """A block type.

    Attributes:
        name: ggml's.
        weights: How many a block holds.
        size: Its bytes.
        decode: ``[blocks, size]`` uint8 to ``[blocks, weights]`` float32.
        format: Ours, where one has just its codes and scales.
        split: Scales and codes of that format, a block a row.
    """

    name: str
    weights: int
    size: int
    decode: Callable[[U8], F32]
    format: str | None = None
    split: Split = lambda blocks: (blocks, blocks)


def _half(blocks: U8, at: int) -> F32:
    """The float16 at a byte of every block, ``[blocks, 1]`` float32."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def _nibbles(packed: U8) -> U8:
    """Lower halves of all bytes, then upper ones."""
    return np.concatenate([packed & 15, packed >> 4], axis=1)


def _fifth_bits(blocks: U8, at: int) -> U8:
    """The 32 bits at a byte, as 16 in the place of a fifth bit."""
    return np.unpackbits(blocks[:, at : at + 4], axis=1, bitorder="little") << np.uint8(4)


def _q4_0(blocks: U8) -> F32:
    return (_nibbles(blocks[:, 2:]).astype(np.float32) - 8) * _half(blocks, 0)


def _q4_1(blocks: U8) -> F32:
    return _nibbles(blocks[:, 4:]).astype(np.float32) * _half(blocks, 0) + _half(blocks, 2)


def _q5_0(blocks: U8) -> F32:
    codes = _nibbles(blocks[:, 6:]) | _fifth_bits(blocks, 2)
    return (codes.astype(np.float32) - 16) * _half(blocks, 0)


def _q5_1(blocks: U8) -> F32:
    codes = _nibbles(blocks[:, 8:]) | _fifth_bits(blocks, 4)
    return codes.astype(np.float32) * _half(blocks, 0) + _half(blocks, 2)


def _q8_0(blocks: U8) -> F32:
    return blocks[:, 2:].view(np.int8).astype(np.float32) * _half(blocks, 0)


def _two_bits(packed: U8) -> U8:
    """``[blocks, 64]`` bytes to 256 codes: of each 32 bytes the lowest two bits, then the next."""
    halves = packed.reshape(-1, 2, 1, 32) >> np.array([0, 2, 4, 6], np.uint8)[:, None]
    return (halves & np.uint8(3)).astype(np.uint8).reshape(-1, 256)


def _scaled(scales: F32, codes: F32) -> F32:
    """A scale for each run of codes: ``[blocks, runs]`` times ``[blocks, 256]``."""
    runs = codes.reshape(len(codes), scales.shape[1], -1)
    return scales[:, :, None] * runs


def _q2_k(blocks: U8) -> F32:
    packed, scales = blocks[:, 16:80], blocks[:, :16]
    steps = _half(blocks, 80) * (scales & 15).astype(np.float32)
    offsets = _half(blocks, 82) * (scales >> 4).astype(np.float32)
    codes = _two_bits(packed).astype(np.float32)
    return (_scaled(steps, codes) - offsets[:, :, None]).reshape(-1, 256)


def _q3_k(blocks: U8) -> F32:
    high = np.unpackbits(blocks[:, :32].reshape(-1, 32, 1), axis=2, bitorder="little")
    high = high.transpose(0, 2, 1).reshape(-1, 256)  # bit k of the bytes serves run k of 32
    codes = _two_bits(blocks[:, 32:96]).astype(np.int8) - ((1 - high) << 2).astype(np.int8)
    packed = blocks[:, 96:108]
    low = np.concatenate([packed[:, :8] & 15, packed[:, :8] >> 4], axis=1)
    upper = packed[:, 8:, None] >> np.array([0, 2, 4, 6], np.uint8)
    six = low | ((upper & 3).transpose(0, 2, 1).reshape(-1, 16) << 4)
    steps = _half(blocks, 108) * (six.astype(np.float32) - 32)
    return _scaled(steps, codes.astype(np.float32)).reshape(-1, 256)


def _six_bit_pairs(packed: U8) -> tuple[F32, F32]:
    """Twelve bytes to eight scales and eight offsets of six bits."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | ((first >> 6) << 4)], axis=1)
    offsets = np.concatenate([second & 63, (third >> 4) | ((second >> 6) << 4)], axis=1)
    return scales.astype(np.float32), offsets.astype(np.float32)


def _runs_of_32(packed: U8) -> U8:
    """``[blocks, 128]`` bytes to 256 codes: of each 32 bytes the lower halves, then the upper."""
    halves = packed.reshape(-1, 4, 1, 32) >> np.array([0, 4], np.uint8)[:, None]
    return (halves & np.uint8(15)).astype(np.uint8).reshape(-1, 256)


def _pairs_k(blocks: U8, codes: U8) -> F32:
    scales, offsets = _six_bit_pairs(blocks[:, 4:16])
    steps, minima = _half(blocks, 0) * scales, _half(blocks, 2) * offsets
    return (_scaled(steps, codes.astype(np.float32)) - minima[:, :, None]).reshape(-1, 256)


def _q4_k(blocks: U8) -> F32:
    return _pairs_k(blocks, _runs_of_32(blocks[:, 16:]))


def _q5_k(blocks: U8) -> F32:
    high = np.unpackbits(blocks[:, 16:48].reshape(-1, 32, 1), axis=2, bitorder="little")
    fifth = high.transpose(0, 2, 1).reshape(-1, 256) << np.uint8(4)
    return _pairs_k(blocks, _runs_of_32(blocks[:, 48:]) | fifth)


def _q6_k(blocks: U8) -> F32:
    low = blocks[:, :128].reshape(-1, 2, 1, 64) >> np.array([0, 4], np.uint8)[:, None]
    high = _two_bits(blocks[:, 128:192])
    codes = (low & 15).reshape(-1, 256) | (high << 4)
    steps = _half(blocks, 208) * blocks[:, 192:208].view(np.int8).astype(np.float32)
    return _scaled(steps, codes.astype(np.float32) - 32).reshape(-1, 256)


def _iq4_nl(blocks: U8) -> F32:
    return _half(blocks, 0) * _NONLINEAR[_nibbles(blocks[:, 2:])]


def _mxfp4(blocks: U8) -> F32:
    # ggml halves the scale and doubles the levels, which is the same until 2^-127.
    return power_of_two(blocks[:, :1]) * _E2M1[_nibbles(blocks[:, 1:])]


def _plain(dtype: str) -> Callable[[U8], F32]:
    return lambda blocks: np.ascontiguousarray(blocks).view(dtype).astype(np.float32)


def _bf16(blocks: U8) -> F32:
    wide = np.ascontiguousarray(blocks).view("<u2").astype(np.uint32) << 16
    return wide.view(np.float32)


def _split_q4_0(blocks: U8) -> tuple[NDArray[np.generic], U8]:
    return np.ascontiguousarray(blocks[:, :2]).view("<f2"), _nibbles(blocks[:, 2:]) ^ np.uint8(8)


def _split_q8_0(blocks: U8) -> tuple[NDArray[np.generic], U8]:
    return np.ascontiguousarray(blocks[:, :2]).view("<f2"), np.ascontiguousarray(blocks[:, 2:])


def _split_mxfp4(blocks: U8) -> tuple[NDArray[np.generic], U8]:
    return np.ascontiguousarray(blocks[:, :1]), _nibbles(blocks[:, 1:])


BLOCKS: dict[int, BlockType] = {
    0: BlockType("F32", 1, 4, _plain("<f4")),
    1: BlockType("F16", 1, 2, _plain("<f2")),
    2: BlockType("Q4_0", 32, 18, _q4_0, "int4:g32:full-range", _split_q4_0),
    3: BlockType("Q4_1", 32, 20, _q4_1),
    6: BlockType("Q5_0", 32, 22, _q5_0),
    7: BlockType("Q5_1", 32, 24, _q5_1),
    8: BlockType("Q8_0", 32, 34, _q8_0, "int8:g32:full-range", _split_q8_0),
    10: BlockType("Q2_K", 256, 84, _q2_k),
    11: BlockType("Q3_K", 256, 110, _q3_k),
    12: BlockType("Q4_K", 256, 144, _q4_k),
    13: BlockType("Q5_K", 256, 176, _q5_k),
    14: BlockType("Q6_K", 256, 210, _q6_k),
    20: BlockType("IQ4_NL", 32, 18, _iq4_nl),
    30: BlockType("BF16", 1, 2, _bf16),
    39: BlockType("MXFP4", 32, 17, _mxfp4, "mxfp4", _split_mxfp4),
}
"""ggml's numbers of the block types that are known here."""
