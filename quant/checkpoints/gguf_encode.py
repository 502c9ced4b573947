"""The block types of GGUF that hold a tensor of ours exactly, and the tensor as such blocks.

A weight here is an integer times the scale of its group, or an unsigned one less a zero point. A
block type holds it where its codes have room for the integers and its float16 numbers for scales
and offsets; then ggml's products are exact, and so equal ours bit for bit. The smallest such type
is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.registry import FORMATS
from quant.rounding.packing import U8
from quant.tensors.tensor import QuantizedTensor

I16 = NDArray[np.int16]
SMALL, LARGE = 32, 256
"""Weights of a block of each size."""
ALLOWED = (
    "groups of whole blocks of 32 with fp16 scales of int2 to int8, int2-asym to int6-asym and "
    "other grids of integers, mxfp4"
)


@dataclass(frozen=True)
class Grid:
    """A tensor as integers and scales, a block of 32 after the other.

    Attributes:
        tensor: It.
        levels: ``[blocks, 32]``: the integer that the scale multiplies, zero point taken off.
        scales: ``[blocks]`` float32.
        codes: ``[blocks, 32]`` without the zero point taken off; None: there is none.
        zeros: ``[blocks]``; None as above.
    """

    tensor: QuantizedTensor
    levels: I16
    scales: F32
    codes: U8 | None = None
    zeros: NDArray[np.generic] | None = None

    @property
    def group(self) -> int:
        """Weights of a group, at most a row."""
        return min(self.tensor.spec.group_size, self.tensor.shape[1])

    def within(self, bits: int) -> bool:
        """Whether the levels are integers of some bits in two's complement."""
        half = 1 << (bits - 1)
        return bool((self.levels >= -half).all() and (self.levels < half).all())

    def has_codes(self, bits: int) -> bool:
        """Whether it has unsigned codes and zero points of some bits."""
        return self.codes is not None and self.tensor.spec.format.element_bits <= bits

    @property
    def large(self) -> bool:
        """Whether each block of 256 is of one group."""
        return self.tensor.shape[1] % LARGE == 0 and self.group % LARGE == 0


@dataclass(frozen=True)
class Encoding:
    """A block type.

    Attributes:
        name: ggml's.
        weights: How many a block holds.
        size: Its bytes.
        encode: Takes a grid, gives the blocks ``[blocks, size]``; None: it does not hold it.
    """

    name: str
    weights: int
    size: int
    encode: Callable[[Grid], U8 | None]


def encoded(path: str, tensor: QuantizedTensor) -> tuple[Encoding, U8]:
    """Return the smallest block type that holds a tensor, and its rows, ``[out, bytes]`` uint8.

    Raises:
        RequestError: none does.
    """
    grid = _grid(tensor)
    if grid is not None:
        for encoding in ENCODINGS:
            blocks = encoding.encode(grid)
            if blocks is not None:
                return encoding, np.ascontiguousarray(blocks.reshape(tensor.shape[0], -1))
    raise RequestError(
        f"layer {path}: {tensor.spec}, rows of {tensor.shape[1]}: no block type of GGUF holds it "
        f"exactly (allowed: {ALLOWED})"
    )


def _grid(tensor: QuantizedTensor) -> Grid | None:
    spec, columns = tensor.spec, tensor.shape[1]
    if not spec.format.layout.is_grid or columns % SMALL or min(spec.group_size, columns) % SMALL:
        return None
    unit = np.float32(spec.format.element.unit)  # type: ignore[union-attr]  # plain ones have no codes
    wide = tensor.levels() / unit
    levels = np.rint(np.nan_to_num(wide, nan=0.5, posinf=0.5, neginf=0.5))
    if not np.array_equal(levels, wide) or np.abs(levels).max() >= 1 << 15:
        return None
    each = min(spec.group_size, columns) // SMALL
    scales = np.repeat(tensor.group_scales(), each, 1)[:, : columns // SMALL] * unit
    codes, zeros = None, None
    if tensor.zero_points is not None:
        codes = tensor.unpack_codes().reshape(-1, SMALL)
        zeros = np.repeat(tensor.zero_points, each, 1)[:, : columns // SMALL].reshape(-1)
    of_blocks = levels.astype(np.int16).reshape(-1, SMALL)
    return Grid(tensor, of_blocks, scales.reshape(-1).astype(np.float32), codes, zeros)


def _halves(values: NDArray[Any]) -> U8 | None:
    """Numbers as the bytes of float16, ``[n, 2]``; None: one of them is no such number."""
    wide = values.astype(np.float32)
    with np.errstate(over="ignore"):
        half = wide.astype("<f2")
    if not np.array_equal(half.astype(np.float32), wide):
        return None
    return np.ascontiguousarray(half).view(np.uint8).reshape(-1, 2)


def _nibbles(codes: U8) -> U8:
    """The first half of a block in the lower halves of its bytes, the second in the upper."""
    middle = codes.shape[1] // 2
    packed: U8 = (codes[:, :middle] & np.uint8(15)) | (
        codes[:, middle:] & np.uint8(15)
    ) << np.uint8(4)
    return packed


def _fifth_bits(codes: U8) -> U8:
    return np.packbits(codes >> 4 & 1, axis=1, bitorder="little")


def _joined(*parts: U8 | None) -> U8 | None:
    whole = [part for part in parts if part is not None]
    return np.concatenate(whole, axis=1) if len(whole) == len(parts) else None


def _shifted(grid: Grid, bits: int) -> U8:
    return (grid.levels + (1 << (bits - 1))).astype(np.uint8)


def _offsets(grid: Grid) -> NDArray[np.float64]:
    """What ``zero * scale`` takes off, as float64 has it exactly."""
    assert grid.zeros is not None
    found: NDArray[np.float64] = -(grid.zeros.astype(np.float64) * grid.scales)
    return found


def _mxfp4(grid: Grid) -> U8 | None:
    tensor, own = grid.tensor, FORMATS["mxfp4"]
    spec = tensor.spec
    if spec.format != own or spec.scale != own.scale or spec.group_size != own.group_size:
        return None
    scales = tensor.scales.astype(np.uint8).reshape(-1, 1)
    return _joined(scales, _nibbles(tensor.unpack_codes().reshape(-1, SMALL)))


def _q4_0(grid: Grid) -> U8 | None:
    return _joined(_halves(grid.scales), _nibbles(_shifted(grid, 4))) if grid.within(4) else None


def _q5_0(grid: Grid) -> U8 | None:
    if not grid.within(5):
        return None
    codes = _shifted(grid, 5)
    return _joined(_halves(grid.scales), _fifth_bits(codes), _nibbles(codes))


def _q8_0(grid: Grid) -> U8 | None:
    if not grid.within(8):
        return None
    return _joined(_halves(grid.scales), grid.levels.astype(np.int8).view(np.uint8))


def _q4_1(grid: Grid) -> U8 | None:
    if not grid.has_codes(4):
        return None
    assert grid.codes is not None
    return _joined(_halves(grid.scales), _halves(_offsets(grid)), _nibbles(grid.codes))


def _q5_1(grid: Grid) -> U8 | None:
    if not grid.has_codes(5):
        return None
    assert grid.codes is not None
    parts = (_fifth_bits(grid.codes), _nibbles(grid.codes))
    return _joined(_halves(grid.scales), _halves(_offsets(grid)), *parts)


def _pairs_k(grid: Grid, bits: int) -> U8 | None:
    """Q4_K and Q5_K with one scale for the block: steps and offsets of 1 and of the zero point."""
    if not grid.has_codes(bits) or not grid.large:
        return None
    assert grid.codes is not None
    assert grid.zeros is not None
    scales = _halves(grid.scales[:: LARGE // SMALL])
    zeros = grid.zeros[:: LARGE // SMALL].astype(np.uint8)[:, None]
    ones = np.ones_like(zeros)
    # Eight pairs of six bits: four in bytes of their own, four in halves; all are below 32.
    sides = [ones] * 4 + [zeros] * 4 + [ones | zeros << 4] * 4
    high = [zeros >> 4 << 6] * 4
    packed = np.concatenate([*sides[:4], *(a | b for a, b in zip(sides[4:8], high, strict=True)),
                             *sides[8:]], axis=1)  # fmt: skip
    codes = grid.codes.reshape(-1, LARGE)
    runs = _nibbles(codes.reshape(-1, 64)).reshape(-1, LARGE // 2)
    fifths: list[U8] = []
    if bits == 5:
        planes = (codes >> 4 & 1).reshape(-1, 8, 32).transpose(0, 2, 1)
        fifths = [np.packbits(planes, axis=2, bitorder="little").reshape(-1, 32)]
    return _joined(scales, scales, packed, *fifths, runs)


def _q6_k(grid: Grid) -> U8 | None:
    if not grid.within(6) or not grid.large:
        return None
    codes = _shifted(grid, 6).reshape(-1, LARGE)
    low = _nibbles((codes & np.uint8(15)).reshape(-1, 128)).reshape(-1, 128)
    quarters = (codes >> 4).reshape(-1, 2, 4, 32)
    places = np.array([0, 2, 4, 6], np.uint8)[:, None]
    high = np.bitwise_or.reduce(quarters << places, axis=2).reshape(-1, 64)
    ones = np.ones((len(codes), 16), np.uint8)
    return _joined(low, high, ones, _halves(grid.scales[:: LARGE // SMALL]))


ENCODINGS = (
    Encoding("MXFP4", SMALL, 17, _mxfp4),
    Encoding("Q4_0", SMALL, 18, _q4_0),
    Encoding("Q4_K", LARGE, 144, lambda grid: _pairs_k(grid, 4)),
    Encoding("Q4_1", SMALL, 20, _q4_1),
    Encoding("Q5_0", SMALL, 22, _q5_0),
    Encoding("Q5_K", LARGE, 176, lambda grid: _pairs_k(grid, 5)),
    Encoding("Q5_1", SMALL, 24, _q5_1),
    Encoding("Q6_K", LARGE, 210, _q6_k),
    Encoding("Q8_0", SMALL, 34, _q8_0),
)
"""Smallest first."""
