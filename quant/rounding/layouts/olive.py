"""OliVe's outlier-victim pairs: an outlier takes the code of its neighbour, which becomes zero.

Source: OliVe (ISCA 2023, arXiv 2304.07493); units, ties and the abfloat range as released
(clevercool/ANT-Quantization @bc84067, ``olive_quantization``). Weights are in pairs of inputs
``(2i, 2i+1)``. In a pair, the code ``1000`` (8 bits: ``1000_0000``) in one slot is the victim
identifier: that weight is 0, and the other slot's code is an abfloat. Elsewhere the codes are
normal: int two's complement, whose lowest code is the identifier; flint sign-magnitude, whose −0
is. In units where outliers begin above 32, the weight being ``level * scale``:

====== ===================== ======================================= =====
base   normal levels         outliers                                 unit
====== ===================== ======================================= =====
int4   ±4 .. ±28 by 4        ±{48, 64, 96, 128, 192, 256, 384}           4
flint4 ±{2,4,6,8,12,16,32}   the same                                    2
int8   ±0.25 .. ±31.75       ±33 .. ±504, E2M5                        0.25
====== ===================== ======================================= =====

Every level is an integer times the unit. The paper's 8-bit abfloat is E4M3; the release has E2M5.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError, unknown_name
from quant.formats.elements import F32
from quant.formats.flint import flint_levels
from quant.rounding.packing import U8

#: Codes of outlier-victim pairs, ``[out, in]``: normal, victim identifier or abfloat.
OliveCodes = U8
#: Width of a code, and the greatest common divisor of the levels.
_BASES = {"int4": (4, 4.0), "flint4": (4, 2.0), "int8": (8, 0.25)}
BASES = tuple(_BASES)


def code_bits(base: str) -> int:
    """Return the width of a code of a base type: 4 or 8."""
    return _entry(base)[0]


def unit(base: str) -> float:
    """Return the greatest common divisor of the levels of a base type, outliers included."""
    return _entry(base)[1]


def victim_code(base: str) -> int:
    """Return the victim identifier: the code with the top bit alone."""
    return 1 << (code_bits(base) - 1)


def abfloat_levels(value_bits: int) -> tuple[float, ...]:
    """Return the magnitude of each unsigned abfloat code: E2 and ``value_bits - 2`` of mantissa.

    ``2^(5+e) * (1 + m/2^M)``: adaptive bias, so that the first code, 32, coincides with the
    normal range's end; it is not used. No special values.

    Args:
        value_bits: Width of the magnitude, 2 to 8.

    Raises:
        RequestError: ``value_bits`` is out of range.
    """
    if not 2 <= value_bits <= 8:
        raise RequestError(f"abfloat of {value_bits} value bits: 2 to 8 are allowed")
    steps = 1 << (value_bits - 2)
    return tuple(2.0 ** (5 + e) * (1 + m / steps) for e in range(4) for m in range(steps))


@cache
def normal_levels(base: str) -> F32:
    """Return the level of each normal code, ``[2^bits]``; the victim identifier's is NaN."""
    bits, step = _entry(base)
    top = 1 << (bits - 1)
    if base.startswith("flint"):
        magnitudes = np.array(flint_levels(bits - 1), np.float32)
        levels = np.concatenate([magnitudes, -magnitudes])
    else:
        levels = np.concatenate([np.arange(top), np.arange(-top, 0)]).astype(np.float32)
    levels[top] = np.nan
    return _frozen(levels * np.float32(step))


@cache
def outlier_levels(base: str) -> F32:
    """Return the level of each abfloat code, ``[2^bits]``: sign and magnitude.

    The codes of both zeros, ``(e, m) = (0, 0)``, are not used and NaN: so no outlier looks like
    a victim identifier.
    """
    magnitudes = np.array(abfloat_levels(code_bits(base) - 1), np.float32)
    magnitudes[0] = np.nan
    return _frozen(np.concatenate([magnitudes, -magnitudes]))


def encode(weight: F32, scale: F32, base: str) -> OliveCodes:
    """Return the codes of the nearest levels, with a victim beside every outlier.

    Ties go to the larger level, but to the outlier between an outlier and a normal level. Of two
    outliers in a pair the first stays, whichever is larger, and the second becomes 0 (released
    behaviour). With an odd number of inputs the pairs are those of each row and the last weight
    has no partner: it is the nearest normal level. (The release pairs the flattened tensor, the
    same for an even number.) Weights beyond the largest outlier saturate; −0 is 0.

    Args:
        weight: ``[out, in]``, finite float32.
        scale: ``[out, 1]``, or ``[out, in]`` for groups, finite float32, not negative: the weight
            of level 1 (the release's alpha over the largest normal level). Zero: all codes 0.
        base: The normal type, one of ``BASES``.

    Raises:
        RequestError: an unknown base, shapes that do not fit, or a value that is not allowed.
    """
    _check(weight.shape, scale, base)
    if not np.isfinite(weight).all():
        raise RequestError("weight holds NaN or infinity: finite values are allowed")
    scaled = np.zeros(weight.shape, np.float32)
    with np.errstate(over="ignore"):
        np.divide(weight, scale, out=scaled, where=scale > 0)
    codes, outlier = _nearest(scaled, base, True)
    even = weight.shape[1] // 2 * 2
    codes[:, even:], outlier[:, even:] = _nearest(scaled[:, even:], base, False)
    first, second = outlier[:, 0:even:2], outlier[:, 1:even:2]
    identifier = np.uint8(victim_code(base))
    codes[:, 0:even:2][second & ~first] = identifier
    codes[:, 1:even:2][first] = identifier
    return codes


def decode(codes: OliveCodes, scale: F32, base: str) -> F32:
    """Return the weights of the codes, ``[out, in]`` float32: ``level * scale``.

    Args:
        codes: ``[out, in]`` uint8, one code an element.
        scale: As in ``encode``.
        base: The normal type, one of ``BASES``.

    Raises:
        RequestError: an unknown base, shapes that do not fit, or codes that mean nothing: wider
            than the base, two identifiers in a pair, one in a last unpaired place, or an abfloat
            of exponent and mantissa 0.
    """
    _check(codes.shape, scale, base)
    if codes.size and codes.max() >= 2 ** code_bits(base):
        raise RequestError(f"code {codes.max()}: {base} has codes below {2 ** code_bits(base)}")
    victim = codes == victim_code(base)
    even = codes.shape[1] // 2 * 2
    outlier = np.zeros(codes.shape, np.bool_)
    outlier[:, 0:even:2], outlier[:, 1:even:2] = victim[:, 1:even:2], victim[:, 0:even:2]
    levels = np.where(outlier, outlier_levels(base)[codes], normal_levels(base)[codes])
    levels[victim & ~outlier] = 0
    levels[:, even:] = normal_levels(base)[codes[:, even:]]
    if np.isnan(levels).any():
        row, column = np.argwhere(np.isnan(levels))[0].tolist()
        raise RequestError(
            f"code {codes[row, column]} at [{row}, {column}] means nothing there: one victim "
            "identifier a pair, beside a non-zero abfloat, is allowed"
        )
    return np.asarray(levels * scale, np.float32)


def _entry(base: str) -> tuple[int, float]:
    if base not in _BASES:
        raise unknown_name("OliVe base", base, BASES)
    return _BASES[base]


def _frozen(levels: F32) -> F32:
    """Cached tables are shared: nobody may write to them."""
    levels.flags.writeable = False
    return levels


def _check(shape: tuple[int, ...], scale: F32, base: str) -> None:
    _entry(base)
    if len(shape) != 2 or scale.shape not in ((shape[0], 1), shape):
        raise RequestError(
            f"shapes {shape} and scale {scale.shape}: [out, in] and [out, 1] or [out, in]"
        )
    if not (np.isfinite(scale).all() and (scale >= 0).all()):
        raise RequestError("scale holds a negative value, NaN or infinity: finite >= 0 is allowed")


@cache
def _cells(base: str, outliers: bool) -> tuple[F32, U8, NDArray[np.bool_]]:
    """Return the lower ends of the cells but the first, and each cell's code and whether outlier.

    Halves of neighbours are exact in float32 here, so cells find what distances would.
    """
    normal, abnormal = normal_levels(base), outlier_levels(base)
    used = [~np.isnan(normal) & ~((normal == 0) & np.signbit(normal)), ~np.isnan(abnormal)]
    tables = [(normal, used[0], False), (abnormal, used[1], True)][: 1 + outliers]
    levels = np.concatenate([table[keep] for table, keep, _ in tables])
    codes = np.concatenate([np.flatnonzero(keep) for _, keep, _ in tables]).astype(np.uint8)
    outlier = np.concatenate([np.full(keep.sum(), kind) for _, keep, kind in tables])
    order = np.argsort(levels)
    levels, codes, outlier = levels[order], codes[order], outlier[order]
    ends = (levels[:-1] + levels[1:]) / np.float32(2)
    # A tie of a negative outlier with the lowest normal level is the outlier's, so goes down.
    down = outlier[:-1] & ~outlier[1:]
    ends[down] = np.nextafter(ends[down], np.float32(np.inf))
    return ends, codes, outlier


def _nearest(scaled: F32, base: str, outliers: bool) -> tuple[U8, NDArray[np.bool_]]:
    ends, codes, outlier = _cells(base, outliers)
    cell = np.searchsorted(ends, scaled, side="right")
    return codes[cell], outlier[cell]
