"""HQQ as hqq 0.2.8 released it: its bounds of scales, and its packing of 4-bit codes.

Its scales are at least 1/20000, and 1 for a group that spreads less than 1e-4, so that weights of
a standard deviation of 1e-6 become zeros; ``quant.methods.hqq`` has no such bounds.
"""

from __future__ import annotations

import numpy as np

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.methods import hqq_steps
from quant.methods.hqq_steps import HqqResult
from quant.rounding.packing import U8

LARGEST_INVERSE, LEAST_RANGE = np.float32(2e4), 1e-4


def quantize_groups(
    groups: F32, bits: int, *, optimize: bool = True, round_zero: bool = False
) -> HqqResult:
    """Return groups ``[n, group]`` float32 as the release does, axis 1.

    Args:
        groups: Finite weights.
        bits: 1 to 8.
        optimize: Move the zero points; else keep those of the range.
        round_zero: Start from integer zero points (the release: at 4 bits).
    """
    spread = groups.max(axis=1, keepdims=True) - groups.min(axis=1, keepdims=True)
    safe = np.where(np.abs(spread) <= LEAST_RANGE, np.float32(1), spread)
    inverse = np.where(np.abs(spread) <= LEAST_RANGE, np.float32(1), np.float32(2**bits - 1) / safe)
    inverse = np.minimum(inverse, LARGEST_INVERSE).astype(np.float32)
    return hqq_steps.quantize_groups(
        groups, bits, inverse, optimize=optimize, round_zero=round_zero
    )


def pack_4bit(codes: U8) -> U8:
    """Return codes ``[groups, size]`` as HQQ packs them: the first half of the groups above.

    ``[groups/2, size]``; HQQ's ``BitPack.pack_4bit_u8``.

    Raises:
        RequestError: an odd number of groups.
    """
    half, odd = divmod(codes.shape[0], 2)
    if odd:
        raise RequestError(f"{codes.shape[0]} groups do not fill pairs")
    return (codes[:half] << np.uint8(4)) | codes[half:]
