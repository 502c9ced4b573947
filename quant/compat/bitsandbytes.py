"""bitsandbytes 0.50 on the CPU: NF4 and FP4 in its own codes, double quantization, dynamic 8 bits.

What the main path (``nf4``, ``fp4-bnb``) does not share: blocks run over the flattened tensor;
values are multiplied by the reciprocal of the absolute maximum, in four bits of at least 1e-38; a
value passes every threshold that it is not at most equal to, so that NaN passes all of them;
positive values below FP4's first threshold take the code of -0. Eight-bit codes come from a table
over 65,536 steps of -1..1: the level nearest to the middle of the step; NaN takes the first code.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError, unknown_name
from quant.compat.ant import torch_sum
from quant.formats.elements import F32
from quant.formats.grid import grid_of
from quant.formats.registry import get_format
from quant.rounding.packing import U8

Kind = Literal["nf4", "fp4"]
NAMES = {"nf4": "nf4", "fp4": "fp4-bnb"}
STEPS, DYNAMIC_BLOCK = 65536, 256
EXPONENTS = 7  # of the dynamic map: 10^-6 to 10^0
LEAST = np.float32(1e-38)  # that a block is divided by


@dataclass(frozen=True)
class FourBits:
    """Codes of NF4 or FP4.

    Attributes:
        codes: ``[n]`` uint8, one a weight, of the flattened tensor.
        absmax: ``[blocks]`` float32.
        kind: Which table.
        block: Weights of a block; the last may be shorter.
    """

    codes: U8
    absmax: F32
    kind: Kind
    block: int

    def dequantize(self, absmax: F32 | None = None) -> F32:
        """Return ``table[code] * absmax``, ``[n]`` float32; ``absmax`` in place of its own."""
        scales = self.absmax if absmax is None else absmax
        values: F32 = _table(self.kind)[self.codes]
        return values * np.repeat(scales, self.block)[: values.size]

    def packed(self) -> U8:
        """Return two codes a byte, the earlier one in the upper half, ``[ceil(n/2), 1]``."""
        zero = 7 if self.kind == "nf4" else 0
        even = np.pad(self.codes, (0, self.codes.size % 2), constant_values=zero)
        return ((even[::2] << np.uint8(4)) | even[1::2])[:, None]


@dataclass(frozen=True)
class EightBits:
    """Codes of the dynamic map, and the absolute maximum of each block of 256."""

    codes: U8
    absmax: F32

    def dequantize(self) -> F32:
        """Return ``map[code] * absmax``, ``[n]`` float32."""
        scales = np.repeat(self.absmax, DYNAMIC_BLOCK)[: self.codes.size]
        return dynamic_map()[self.codes] * scales


@dataclass(frozen=True)
class DoubleQuantized:
    """Absolute maxima of blocks, themselves in eight bits about their mean."""

    codes: EightBits
    offset: np.float32

    def absmax(self) -> F32:
        """Return the absolute maxima as they are used, ``[blocks]`` float32."""
        return self.codes.dequantize() + self.offset


def quantize_4bit(weight: F32, kind: Kind, block: int = 64) -> FourBits:
    """Quantize a tensor of any shape as ``functional.quantize_4bit`` does.

    Raises:
        RequestError: an unknown kind, or a block below 1.
    """
    if kind not in get_args(Kind):
        raise unknown_name("kind", kind, get_args(Kind))
    if block < 1:
        raise RequestError(f"blocks of {block} weights: at least 1 is needed")
    scaled, absmax = _normalized(weight, block, LEAST)
    grid = grid_of(get_format(NAMES[kind]))
    thresholds = grid.thresholds[0][np.isfinite(grid.thresholds[0])]
    codes = grid.codes[0][_passed(scaled, thresholds)]
    if kind == "fp4":
        codes = np.where((codes == 0) & (scaled > 0), np.uint8(8), codes)
    return FourBits(codes.astype(np.uint8), absmax, kind, block)


def quantize_absmax(absmax: F32) -> DoubleQuantized:
    """Quantize absolute maxima ``[blocks]`` as ``compress_statistics`` does."""
    offset = np.float32(torch_sum(absmax[None])[0] / np.float32(absmax.size))
    return DoubleQuantized(quantize_8bit(absmax - offset), offset)


def quantize_8bit(values: F32) -> EightBits:
    """Quantize as ``functional.quantize_blockwise`` does, blocks of 256, finite values."""
    scaled, absmax = _normalized(values, DYNAMIC_BLOCK, np.float32(0))
    scaled = np.clip(np.nan_to_num(scaled, nan=-1.0), np.float32(-1), np.float32(1))
    half = np.float32((STEPS - 1) / 2)
    step = np.floor((scaled + np.float32(1)) * half + np.float32(0.5)).astype(np.int64)
    return EightBits(_nearest_of_step()[np.clip(step, 0, STEPS - 1)], absmax)


@cache
def dynamic_map() -> F32:
    """Return the signed dynamic map, ``[256]`` rising (Dettmers, arXiv 1511.04561).

    For each power of ten the middles of twice as many parts of 0.1..1 as for the one below.
    """
    values = [0.0, 1.0]
    for exponent in range(EXPONENTS):
        edges = _torch_linspace(2**exponent + 1)
        middles = (edges[:-1] + edges[1:]) / np.float32(2)
        scaled = np.float32(10.0 ** (exponent - EXPONENTS + 1)) * middles
        values += [*scaled.tolist(), *(-scaled).tolist()]
    return np.sort(np.array(values)).astype(np.float32)


def _torch_linspace(count: int) -> F32:
    """0.1..1 as torch's float32 kernel steps: from both ends to the middle."""
    first, last = np.float32(0.1), np.float32(1)
    step = np.float64((last - first) / np.float32(count - 1))
    index = np.arange(count)
    # Its products are fused with the sums: rounded once, as from float64 here.
    rising, falling = first + step * index, last - step * (count - 1 - index)
    return np.where(index < count // 2, rising, falling).astype(np.float32)


@cache
def _nearest_of_step() -> U8:
    levels = dynamic_map().astype(np.float64)
    middles = np.arange(STEPS) / ((STEPS - 1) / 2) - 1
    above = np.clip(np.searchsorted(levels, middles), 1, levels.size - 1)
    lower = np.abs(levels[above - 1] - middles) <= np.abs(levels[above] - middles)
    return np.where(lower, above - 1, above).astype(np.uint8)


def _table(kind: Kind) -> F32:
    table: F32 = get_format(NAMES[kind]).tables[0]
    return table


def _passed(scaled: F32, thresholds: F32) -> NDArray[np.intp]:
    found = np.searchsorted(thresholds, scaled, side="left")
    return np.where(np.isnan(scaled), np.intp(thresholds.size), found)


def _normalized(values: F32, block: int, least: np.float32) -> tuple[F32, F32]:
    """Values over their block's absolute maximum, ``[n]``, and the maxima, ``[blocks]``."""
    flat = np.ascontiguousarray(values, np.float32).ravel()
    padded = np.pad(flat, (0, -flat.size % block)).reshape(-1, block)
    absmax = np.abs(padded).max(axis=1)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        factors = np.float32(1) / np.maximum(absmax, least)
        scaled = (padded * factors[:, None]).ravel()[: flat.size]
    return scaled, absmax
