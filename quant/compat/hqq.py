"""HQQ's packing of 4-bit codes."""

from __future__ import annotations

import numpy as np

from quant.common.errors import RequestError
from quant.rounding.packing import U8


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
