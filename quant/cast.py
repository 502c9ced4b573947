"""Elementwise casts to minifloats, E8M0 and MXINT8: exact rounding, every convention by name.

Rounding works on the integer significand of the float64 that holds each value exactly: a tie is a
tie, and nothing is rounded twice. Libraries agree on the levels, not on what has no level:

* Ties: ``even``: ml_dtypes 0.6.0, torch 2.13, torchao; ``away``: microxcaling ``nearest``, gfloat
  0.5.2 TiesToAway. ``zero`` is no rule for ties but truncation: gfloat TowardZero.
* Overflow: NaN in ``fn`` and ``fnuz`` types and Inf in IEEE ones (``special``): ml_dtypes, torch;
  ±max (``saturate``): OCP MX v1.0 section 5.3, gfloat with ``sat``, FP4 and FP6 of ml_dtypes, and
  E4M3FN of torch >= 2.12 (pytorch/pytorch#178817), which also saturates ±Inf.
* NaN: ``quiet``: ml_dtypes; ``ones``: torch in E5M2. FP4 and FP6 have none: ml_dtypes gives the
  zero of the other sign (``flipped_zero``: NaN becomes -0), gfloat raises (``error``).

``convention`` gives these sets. The sign of a zero is kept, but for ``fnuz`` types, which have one.
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypedDict, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quant.common.errors import RequestError, unknown_name
from quant.formats.elements import F32, FloatType

# To the even code; to the larger magnitude; truncation of all values, halfway or not.
Ties = Literal["even", "away", "zero"]
PowerTies = Literal["even", "away", "zero", "significand"]
# ±max; ±Inf, else NaN, else ±max; a RequestError.
Beyond = Literal["saturate", "special", "error"]
# ±NaN with its top mantissa bit or with all bits set; +0; the zero of the other sign; an error.
NanRule = Literal["quiet", "ones", "zero", "flipped_zero", "error"]
# ml_dtypes 0.6.0; torch 2.13 on a CPU; OCP MX, and gfloat 0.5.2 with sat.
Producer = Literal["ml_dtypes", "torch", "saturating"]

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]


class Convention(TypedDict):
    """What one library does for one type with values that have no level."""

    overflow: Beyond
    infinity: Beyond
    nan: NanRule


SCALAR_TYPES: Final[dict[str, FloatType]] = {
    # OCP OFP8 rev 1.0, table 1: E4M3 has no Inf and reaches 448.
    "e4m3fn": FloatType(4, 3, bias=7, specials="nan"),
    "e5m2": FloatType(5, 2, bias=15, specials="ieee"),
    # ml_dtypes README @0b1a3c0: "IEEE 754, with NaN and inf"; also its source for b11fnuz.
    "e4m3": FloatType(4, 3, bias=7, specials="ieee"),
    "e3m4": FloatType(3, 4, bias=3, specials="ieee"),
    "e4m3b11fnuz": FloatType(4, 3, bias=11, specials="fnuz"),
    # Noune et al., arXiv 2206.02915, and ml_dtypes README @0b1a3c0: one more than IEEE's bias.
    "e4m3fnuz": FloatType(4, 3, bias=8, specials="fnuz"),
    "e5m2fnuz": FloatType(5, 2, bias=16, specials="fnuz"),
    # OCP MX v1.0, sections 5.3.2 and 5.3.3: neither Inf nor NaN.
    "e2m3": FloatType(2, 3, bias=1),
    "e3m2": FloatType(3, 2, bias=3),
    "e2m1": FloatType(2, 1, bias=1),
}

WIDE_TYPES: Final[dict[str, FloatType]] = {  # upper half of float32; IEEE 754-2019 binary16
    "bf16": FloatType(8, 7, bias=127, specials="ieee"),
    "fp16": FloatType(5, 10, bias=15, specials="ieee"),
}
_MXINT8 = FloatType(0, 8, bias=-1)  # its magnitudes are the multiples of 1/64


def convention(producer: Producer, element: FloatType) -> Convention:
    """Return what a library does with values without a level; torch's 16-bit NaNs vary by path.

    ``RequestError``: the producer is unknown.
    """
    _check(producer=(producer, Producer))
    bounded = producer == "torch" and element == SCALAR_TYPES["e4m3fn"]
    beyond: Beyond = "saturate" if bounded or producer == "saturating" else "special"
    nan: NanRule = "ones" if producer == "torch" else "quiet"
    if not element.has_specials:
        nan = "flipped_zero" if producer == "ml_dtypes" else "error"
    return Convention(overflow=beyond, infinity=beyond, nan=nan)


def cast(
    values: ArrayLike,
    element: FloatType,
    *,
    ties: Ties = "even",
    overflow: Beyond = "saturate",
    infinity: Beyond = "special",
    nan: NanRule = "quiet",
) -> NDArray[Any]:
    """Round every value to a level of the type and return the level's code.

    Args:
        values: Real numbers of any shape, in the type's own unit: float16, float32, float64, or
            integers up to 2^53 (all exact in float64).
        element: The type, of at most 16 bits.
        ties: What a value halfway between two levels becomes, or truncation of all.
        overflow: What a finite value becomes that rounds above the largest level, as if the
            exponent had no end. What is truncated never does (IEEE 754-2019, 7.4).
        infinity: What ±Inf becomes.
        nan: What NaN becomes; ``quiet`` and ``ones`` ask for a type that has NaN.

    Returns:
        Sign-magnitude codes of the shape of ``values``: uint8, above 8 bits uint16.

    Raises:
        RequestError: An option or a dtype is unknown, the type is too wide, a value has no code.

    Example:
        >>> e2m1 = FloatType(2, 1)
        >>> decode(cast([0.3, 2.5, 100.0], e2m1), e2m1).tolist()
        [0.5, 2.0, 6.0]
    """
    _check(ties=(ties, Ties), nan=(nan, NanRule))
    _check(overflow=(overflow, Beyond), infinity=(infinity, Beyond))
    if not 2 <= element.bits <= 16:
        raise RequestError(f"a type of {element.bits} bits (allowed: 2 to 16)")
    x = _exact(values)
    codes = np.empty(x.shape, np.uint8 if element.bits <= 8 else np.uint16)
    source, target = x.reshape(-1), codes.reshape(-1)
    for start in range(0, x.size, 1 << 16):  # blocks that stay in the cache
        part = source[start : start + (1 << 16)]
        target[start : start + part.size] = _cast(part, element, ties, overflow, infinity, nan)
    return codes


def decode(codes: ArrayLike, element: FloatType) -> F32:
    """Return each code's value, float32, or raise ``RequestError`` for what is no code."""
    with np.errstate(over="ignore"):  # in bfloat16, the codes of Inf and NaN pass through 2^128
        return np.asarray(element.levels[_codes(codes, 1 << element.bits)])


def _cast(
    x: F64, element: FloatType, ties: Ties, overflow: Beyond, infinity: Beyond, nan: NanRule
) -> I64:
    """Return the codes of one flat block; every option is known to be valid."""
    sign: I64 = np.signbit(x) * np.int64(element.negative_zero)
    largest = element.negative_zero - 1 - element.reserved
    magnitude = _round(x, element, ties)
    codes = np.minimum(magnitude, largest) | sign
    if element.is_unsigned_zero:
        codes[codes == element.negative_zero] = 0
    over = np.isfinite(x) & (magnitude > largest) & (ties != "zero")
    for where, rule in ((over, overflow), (np.isinf(x), infinity)):
        if rule == "error" and where.any():
            most = decode(largest, element)
            raise RequestError(f"{x[where][0]:g} is out of range (allowed: ±{most:g}, or saturate)")
        # The code after the largest: Inf (ieee), NaN (nan), NaN in the place of -0 (fnuz).
        special = rule == "special" and element.has_specials
        codes[where] = (largest + special) | sign[where]
    if (lost := np.isnan(x)).any():
        codes[lost] = _nan_codes(sign[lost], element, nan, largest)
    return codes


def _round(x: F64, element: FloatType, ties: Ties) -> I64:
    """Return the code of each magnitude, as if the exponent had no upper end.

    Magnitude codes count the levels upwards, so rounding up is adding 1, also across a power of
    two, and an even code is an even significand. NaN and Inf give a number without meaning.
    """
    bits: I64 = x.view(np.int64) & np.int64(2**63 - 1)
    field = bits >> 52
    significand = (bits & np.int64(2**52 - 1)) | (np.minimum(field, 1) << 52)
    exponent = np.maximum(field, 1) - 1023 + element.bias
    # Below the smallest normal the step stays; a shift of 54 leaves less than half a step.
    shift = np.minimum(52 - element.mantissa_bits + np.maximum(1 - exponent, 0), 54)
    codes: I64 = ((np.maximum(exponent, 1) - 1) << element.mantissa_bits) + (significand >> shift)
    if ties == "zero":
        return codes
    step = np.int64(1) << shift
    rest = 2 * (significand & (step - 1))
    codes += (rest > step) | ((rest == step) & ((ties == "away") | (codes & 1 == 1)))
    return codes


def _nan_codes(sign: I64, element: FloatType, rule: NanRule, largest: int) -> I64:
    """Return the codes of NaNs with these sign bits."""
    if rule == "zero" or (rule == "flipped_zero" and element.is_unsigned_zero):
        return np.zeros_like(sign)
    if rule == "flipped_zero":
        return np.bitwise_xor(sign, element.negative_zero)
    ieee, top_bit = element.has_infinity, (1 << element.mantissa_bits) >> 1
    if rule == "error" or not element.has_specials or (ieee and not top_bit):
        raise RequestError(f"NaN has no code with nan={rule!r} (allowed: zero, flipped_zero)")
    if ieee and rule == "ones":
        return np.bitwise_or(sign, element.negative_zero - 1)
    return np.bitwise_or(sign, (largest + 1) | (top_bit if ieee else 0))


def cast_e8m0(
    values: ArrayLike,
    *,
    ties: PowerTies = "significand",
    overflow: Literal["saturate", "special"] = "special",
    negative: Literal["magnitude", "special"] = "special",
) -> NDArray[np.uint8]:
    """Round to a power of two and return its E8M0 code, ``2^(code - 127)`` (OCP MX v1.0, 5.4.1).

    NaN and ±Inf are NaN (255). ``RequestError``: an option or a dtype is unknown.

    Args:
        values: As in ``cast``.
        ties: ``even``, ``away``, ``zero``: the nearest level as in ``cast``. ``significand``
            (ml_dtypes 0.6.0; torch 2.13, c10 Float8_e8m0fnu.h): the hidden bit counts as an odd
            last bit, so ties go up; float32 subnormals have none, so all above 2^-127 goes up.
        overflow: What rounds to 2^128 is NaN (both libraries) or 2^127.
        negative: Negative values and zeros are NaN (``special``: ml_dtypes), or cast by magnitude,
            zeros to 2^-127 (torch).
    """
    _check(ties=(ties, PowerTies), overflow=(overflow, Literal["saturate", "special"]))
    _check(negative=(negative, Literal["magnitude", "special"]))
    x = _exact(values)
    codes = _power(x, "away" if ties == "significand" else ties) + 127
    if ties == "significand":
        codes = np.where(np.abs(x) < 2.0**-126, np.abs(x) > 2.0**-127, codes)
    codes = np.where(x == 0, 0, np.clip(codes, 0, 254 if overflow == "saturate" else 255))
    none = ~np.isfinite(x) | ((x <= 0) & (negative == "special"))
    return np.where(none, 255, codes).astype(np.uint8)


def decode_e8m0(codes: ArrayLike) -> F32:
    """Return ``2^(code - 127)`` of every code 0 to 255, float32; 255 is NaN (OCP MX, 5.4.1)."""
    levels = np.append(np.ldexp(1.0, np.arange(-127, 128)), np.nan).astype(np.float32)
    return np.asarray(levels[_codes(codes, 256)])


def round_power(
    values: ArrayLike, *, ties: Ties = "even", negative: Literal["axis", "magnitude"] = "magnitude"
) -> F32:
    """Round to powers of two as gfloat 0.5.2 rounds to E8M0: without a lower end, 0 kept as +0.

    For negative values (the type has no sign) gfloat rounds the signed significand (``axis``):
    truncation is floor, ties go the other way, and no magnitude is the largest (-2^128 is -Inf).
    ``magnitude`` mirrors the positive values. ``RequestError``: not finite, or an unknown option.
    """
    _check(ties=(ties, Ties), negative=(negative, Literal["axis", "magnitude"]))
    x = _exact(values)
    if not np.isfinite(x).all():
        raise RequestError(f"{x[~np.isfinite(x)][0]} has no power of two (allowed: finite values)")
    axis = (x < 0) & (negative == "axis")
    power = np.where(axis, _power(x, ties, mirrored=True), np.minimum(_power(x, ties), 127))
    with np.errstate(over="ignore"):
        powers = np.copysign(np.ldexp(1.0, power), x).astype(np.float32)
    return np.where(x == 0, np.float32(0), powers)


def _power(x: F64, ties: Ties, *, mirrored: bool = False) -> I64:
    """Return the rounded base-2 exponent of each magnitude; mirrored: each choice the other way."""
    fraction, exponent = np.frexp(np.abs(x))  # 0.5 <= fraction < 1, so a tie is 0.75
    lower = exponent.astype(np.int64) - 1
    if ties == "zero":
        return lower + ((fraction > 0.5) & mirrored)
    to_upper = (ties == "away") | (lower % 2 == 0)  # even: code lower + 127 is odd
    lower += (fraction > 0.75) | ((fraction == 0.75) & (to_upper ^ mirrored))
    return lower


def cast_mxint8(values: ArrayLike, *, ties: Ties = "even", lowest: int = -128) -> NDArray[np.uint8]:
    """Round to multiples of 1/64, saturate, return two's complement codes (OCP MX v1.0, 5.3.4).

    ``lowest``: -128 (gfloat 0.5.2), or -127, since the specification lets -2 be left out. The rest
    is as in ``cast``. ±Inf saturates; NaN raises ``RequestError``.
    """
    _check(ties=(ties, Ties), lowest=(lowest, Literal[-128, -127]))
    x = np.clip(_exact(values), -4.0, 4.0)
    if np.isnan(x).any():
        raise RequestError("NaN has no MXINT8 code (allowed: all other values)")
    whole = np.where(x < 0, -1, 1) * _round(x, _MXINT8, ties)
    return np.clip(whole, lowest, 127).astype(np.int8).view(np.uint8)


def decode_mxint8(codes: ArrayLike) -> F32:
    """Return ``code/64`` of every two's complement code, given as 0 to 255; float32."""
    return _codes(codes, 256).astype(np.uint8).view(np.int8).astype(np.float32) / np.float32(64)


def _exact(values: ArrayLike) -> F64:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub" or array.dtype.itemsize > 8:
        raise RequestError(f"values of dtype {array.dtype} (allowed: float16, 32, 64, integers)")
    with np.errstate(invalid="ignore"):  # signalling NaNs
        return np.asarray(array, np.float64, order="C")


def _codes(codes: ArrayLike, count: int) -> NDArray[Any]:
    array = np.asarray(codes)
    if array.dtype.kind not in "iu":
        raise RequestError(f"codes of dtype {array.dtype} (allowed: integers)")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < count:
        raise RequestError(f"codes {array.min()} to {array.max()} (allowed: 0 to {count - 1})")
    return array


def _check(**options: tuple[Any, Any]) -> None:
    """Raise for a value that is not in its Literal type."""
    for name, (given, known) in options.items():
        if given not in get_args(known):
            raise unknown_name(name, str(given), map(str, get_args(known)))
