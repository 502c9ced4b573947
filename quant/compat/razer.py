"""RaZeR's released quantizers, bit for bit (abdelfattah-lab/BitMoD-MXFP4-NVFP4 @e5eb8da).

Source: RaZeR (arXiv 2501.04052), ``quant_weight.py``: float32 on torch's CPU kernels, rounded to
half at the end. RaZeR fills the code of E2M1's -0 with one of +5, -5, +8, -8, tried in this order
for each group; the least mean square error wins, the first of equals. Conventions of its own:

* a tie between two levels takes the lower one; only ``mxfp4`` rounds half away from zero;
* ``mxfp4_razer`` keeps the power of two of ``mxfp4``, so that +-8 takes what 6 would clip;
* ``nvfp4`` picks levels with the scale ``absmax / 6`` and only then rounds it to E4M3, under a
  factor for the tensor of ``largest scale / 448``, at least 1e-7;
* ``int`` is asymmetric; the range is not extended to 0, and the zero point wraps as an int8.

The functions that follow the same authors' ``quant.compat.bitmod`` too stand here as well.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError, unknown_name
from quant.compat.ant import torch_sum
from quant.formats.elements import F32, FloatType

F16 = NDArray[np.float16]
Floats = NDArray[np.float16] | NDArray[np.float32]

#: The formats, and the group size of each in the release; 128 is only what its script takes.
GROUP_SIZES = {
    "int": 128,
    "fp4": 128,
    "fp4_razer": 128,
    "mxfp4": 32,
    "mxfp4_razer": 32,
    "nvfp4": 16,
    "nvfp4_razer": 16,
}
_INT_BITS = 4
_E2M1_LARGEST_EXPONENT = 2
_WORST_ERROR = np.float32(1e4)


def rising(values: F32) -> F32:
    """Return the distinct values in rising order, with one zero."""
    return np.unique(values + np.float32(0))


def nearest(x: Floats, table: F32) -> F32:
    """Return the level nearest to each x; a tie takes the lower one, NaN becomes 0.

    Args:
        x: Any shape, in units of the levels; beyond the ends it saturates.
        table: Rising levels.
    """
    thresholds = (table[:-1] + table[1:]) / np.float32(2)
    at = np.searchsorted(thresholds, x.astype(np.float32), side="left")
    # The releases add one masked level per comparison, and NaN compares false: 0 remains.
    found: F32 = np.where(np.isnan(x), np.float32(0), table[at])
    return found


def floor_log2(x: F32) -> F32:
    """Return ``floor(log2(x))`` as float32 computes it: a hair below 2^k, k > 2, gives k."""
    exponent: F32 = np.floor(np.log2(x.astype(np.float64)).astype(np.float32))
    return exponent


def exp2(exponent: F32) -> F32:
    """Return exact powers of two, subnormal ones too."""
    power: F32 = np.exp2(exponent.astype(np.float64)).astype(np.float32)
    return power


def mean_square(errors: Floats) -> F32:
    """Return torch's mean of the squares over the last axis, before a rounding to half.

    Args:
        errors: Any shape; the squares are rounded to their type.
    """
    size = errors.shape[-1]
    squares = np.square(errors).astype(np.float32).reshape(-1, size)
    return (torch_sum(squares) / np.float32(size)).reshape(errors.shape[:-1])


def wrap_int8(x: Floats) -> NDArray[np.int8]:
    """Return a float's low eight bits as x86 casts it; NaN and whatever passes int32 are 0."""
    single = x.astype(np.float32)
    kept = np.where(np.abs(single) < np.float32(2**31), single, np.float32(0))
    return kept.astype(np.int32).astype(np.int8)


def check_request(weight: Floats, group_size: int, run: tuple[int, ...]) -> int:
    """Return the group size, where 0 and less mean a row.

    Args:
        weight: Must be a matrix of float16 or float32 numbers, and not empty.
        group_size: As requested; must divide the run.
        run: Shape of the weights that are split into groups: of a row, or of all rows.

    Raises:
        RequestError: the weight or the group size is wrong.
    """
    if weight.ndim != 2 or weight.size == 0 or weight.dtype not in (np.float16, np.float32):
        raise RequestError(
            f"weight of {weight.dtype} {weight.shape}: float16 or float32 [out, in] is allowed"
        )
    size = group_size if group_size > 0 else weight.shape[1]
    if math.prod(run) % size:
        raise RequestError(
            f"group size {group_size}: it must divide {math.prod(run)} weights, "
            "or be 0 for one group per row"
        )
    return size


def _groups(weight: Floats, group_size: int) -> F32:
    """Return ``[groups, group_size]`` of the flattened weight, which can straddle rows."""
    size = check_request(weight, group_size, weight.shape)
    return weight.astype(np.float32).reshape(-1, size)


@functools.cache
def _tables(special: bool) -> tuple[F32, ...]:
    """E2M1 alone, or with each special value."""
    plain = rising(FloatType(2, 1, 1).levels)
    if not special:
        return (plain,)
    return tuple(rising(np.append(plain, np.float32(value))) for value in (5, -5, 8, -8))


def _int(groups: F32) -> F32:
    low, high = groups.min(axis=1, keepdims=True), groups.max(axis=1, keepdims=True)
    top = np.float32(2**_INT_BITS - 1)
    scale = (high - low) / top
    zero = wrap_int8(np.round(-low / scale)).astype(np.float32)
    codes = np.clip(np.round(groups / scale) + zero, np.float32(0), top)
    dequantized: F32 = (codes - zero) * scale
    return dequantized


def _absmax(groups: F32, table: F32) -> tuple[F32, F32]:
    scale = np.abs(groups).max(axis=1, keepdims=True) / np.abs(table).max()
    return nearest(groups / scale, table), scale


def _search(groups: F32, special: bool) -> tuple[F32, F32]:
    """Return the levels and scales ``[groups, 1]`` of the best table; zeros if none is."""
    if not special:
        return _absmax(groups, _tables(False)[0])
    kept, scales = np.zeros_like(groups), np.zeros((len(groups), 1), np.float32)
    error = np.full(len(groups), _WORST_ERROR)
    for table in _tables(True):
        levels, scale = _absmax(groups, table)
        mean = mean_square(levels * scale - groups)
        better = mean < error
        error[better], kept[better], scales[better] = mean[better], levels[better], scale[better]
    return kept, scales


def _block_power(groups: F32) -> F32:
    """OCP's power of two of each block, ``[groups, 1]``; NaN where the block is not finite."""
    absmax = np.abs(groups).max(axis=1, keepdims=True)
    exponent = floor_log2(np.where(absmax == 0, np.finfo(np.float32).tiny, absmax))
    exponent = np.maximum(exponent - np.float32(_E2M1_LARGEST_EXPONENT), np.float32(-127))
    exponent[exponent > 127] = np.nan
    return exp2(exponent)


def _round_away(x: F32) -> F32:
    """Round to E2M1, half away from zero and saturating, by float32 additions of 0.5."""
    magnitude = np.abs(x)
    exponent = np.maximum(floor_log2(np.where(magnitude == 0, np.float32(1), magnitude)), 0)
    step = exp2(exponent - np.float32(1))
    rounded = np.floor(magnitude / step + np.float32(0.5)) * step
    clipped: F32 = np.sign(x) * np.minimum(rounded, _tables(False)[0][-1])
    return clipped


def _mx(groups: F32, special: bool) -> F32:
    power = _block_power(groups)
    scaled = groups / power
    if not special:
        return _round_away(scaled) * power
    kept, error = np.zeros_like(groups), np.full(len(groups), _WORST_ERROR)
    for table in _tables(True):
        levels = nearest(scaled, table)
        mean = mean_square(scaled - levels)
        better = mean < error
        error[better], kept[better] = mean[better], levels[better]
    return kept * power


def _e4m3_scales(scales: F32) -> F32:
    """Round the scales of a tensor to three bits of mantissa under their common factor."""
    factor = np.maximum(np.abs(scales).max() / np.float32(448), np.float32(1e-7))
    ratio = scales / factor
    exponent = np.maximum(floor_log2(np.where(ratio == 0, np.float32(1), ratio)), np.float32(-6))
    step = exp2(exponent - np.float32(3))
    rounded: F32 = np.round(ratio / step) * step * factor
    return rounded


def quantize(weight: Floats, name: str, group_size: int | None = None) -> F16:
    """Quantize a weight as the release does and return it dequantized.

    Args:
        weight: ``[out, in]`` float16 or float32. The release guards nothing: where all weights
            of a group are equal, ``int`` gives NaN; NaN or infinities give NaN or zeros.
        name: A key of ``GROUP_SIZES``. ``int`` has four bits.
        group_size: Weights per group; 0: one group per row; None: the release's own.

    Returns:
        ``[out, in]`` float16; what passes 65504 is infinite.

    Raises:
        RequestError: an unknown name, no matrix, or a group size that does not divide it.
    """
    if name not in GROUP_SIZES:
        raise unknown_name("RaZeR format", name, GROUP_SIZES)
    groups = _groups(weight, GROUP_SIZES[name] if group_size is None else group_size)
    special = name.endswith("_razer")
    with np.errstate(all="ignore"):
        if name == "int":
            dequantized = _int(groups)
        elif name.startswith("mx"):
            dequantized = _mx(groups, special)
        else:
            levels, scales = _search(groups, special)
            dequantized = levels * (_e4m3_scales(scales) if name.startswith("nv") else scales)
        return dequantized.astype(np.float16).reshape(weight.shape)
