"""OliVe's released quantizer, number for number (clevercool/ANT-Quantization @bc84067).

Source: OliVe (ISCA 2023, arXiv 2304.07493), ``olive_quantization``: weights per output channel, on
torch's CPU float32 kernels. Its conventions beside those of ``quant.compat.ant``: grids are in
units where outliers begin above 32, and alpha is the value of the largest normal level; alpha is
searched in two per cent steps of ``max(|mean + 3 std|, |mean - 3 std|)`` of a row; the pairs are
those of the flattened tensor, which straddle rows of odd length, and with an odd number of weights
the last is the victim of an outlier in the first place of all. Codes:
``quant.rounding.layouts.olive``.

The released CUDA kernel has shared memory for 256 levels and is handed 509 for int8; here, as in
the reference outputs, all of them count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quant.common.errors import RequestError, unknown_name
from quant.compat import ant
from quant.formats.elements import F32
from quant.formats.flint import flint_levels
from quant.rounding.layouts.olive import abfloat_levels

#: In the order the release tries them.
KINDS = ("int", "flint")
_THRESHOLD = np.float32(32)


@dataclass(frozen=True)
class OliveResult:
    """What the release computes for one weight.

    Attributes:
        dequantized: ``[out, in]`` float32.
        alpha: ``[out, 1]`` float32: the value of the largest normal level.
        grid: The normal levels of the chosen type, rising, ``[2^bits - 1]``.
        outliers: The abfloat levels, rising, ``[2^bits - 2]``.
        mode: The chosen type, ``int`` or ``flint``.
    """

    dequantized: F32
    alpha: F32
    grid: F32
    outliers: F32
    mode: str


def _check_bits(what: str, bits: int, signed: bool, top: int) -> None:
    if not 2 + signed <= bits <= top:
        raise RequestError(f"OliVe {what} of {bits} bits: {2 + signed} to {top} are allowed")


def _mirrored(magnitudes: F32, signed: bool) -> F32:
    """Rising levels: the magnitudes and, of signed types, their negatives; one zero."""
    if signed:
        magnitudes = np.concatenate([magnitudes, -magnitudes[magnitudes > 0]])
    return np.sort(magnitudes)


def grid(kind: str, bits: int, signed: bool = True) -> F32:
    """Return the normal levels, rising, in units where outliers begin above 32.

    int: ``k * 32/2^n`` for n value bits; flint: its largest value is 32. There is no
    ``-2^(bits-1)`` and no second zero: that code is the victim identifier.

    Args:
        kind: ``int`` or ``flint``.
        bits: Width of a code, from 3 (signed) or 2, to 8 for int and 6 for flint.
        signed: Whether a bit is a sign.

    Raises:
        RequestError: an unknown type, or a width it does not have.
    """
    if kind not in KINDS:
        raise unknown_name("OliVe type", kind, KINDS)
    _check_bits(kind, bits, signed, 8 if kind == "int" else 6)
    n = bits - signed
    values = np.array(flint_levels(n) if kind == "flint" else range(2**n), np.float32)
    largest = values.max() if kind == "flint" else np.float32(2**n)
    values *= _THRESHOLD / largest
    return _mirrored(values, signed)


def outlier_grid(bits: int, signed: bool = True) -> F32:
    """Return the abfloat levels, rising: E2, and the other value bits of mantissa.

    Args:
        bits: Width of a code, from 3 (signed) or 2, to 8.
        signed: Whether a bit is a sign.

    Raises:
        RequestError: a width the release does not have.
    """
    _check_bits("abfloat", bits, signed, 8)
    return _mirrored(np.array(abfloat_levels(bits - signed)[1:], np.float32), signed)


def _without_victims(levels: F32) -> F32:
    """Zero the partner of every outlier of ``[out, in]`` levels; of two, the second."""
    flat = levels.reshape(-1)
    outlier = np.abs(flat) > _THRESHOLD
    odd = np.roll(outlier, 1)
    odd[::2] = False
    even = np.roll(outlier & ~odd, -1)
    even[1::2] = False
    return np.where(odd | even, np.float32(0), flat).reshape(levels.shape)


def _forward(weight: F32, alpha: F32, normal: F32, outliers: F32) -> F32:
    levels = np.concatenate([normal, outliers])
    rising = np.argsort(levels)
    scale = alpha / normal[-1]
    scaled = weight / scale
    # The kernel scans outliers after normal levels: their place in the unsorted list.
    found = _without_victims(ant.nearest(scaled, levels[rising], rising))
    back: F32 = ((found - scaled) + scaled) * scale
    return back


def _three_sigma(weight: F32) -> F32:
    """Return ``max(|mean + 3 std|, |mean - 3 std|)`` of each row, ``[out, 1]``.

    As torch: the mean in float32, the unbiased deviation in float64, rounded.
    """
    rows, n = weight.shape
    mean = ant.torch_sum(weight) / np.float32(n)
    centred = weight.astype(np.float64) - weight.mean(axis=1, keepdims=True, dtype=np.float64)
    variance = np.divide((centred**2).sum(axis=1), n - 1)
    three = np.float32(3) * np.sqrt(variance).astype(np.float32)
    bound: F32 = np.maximum(np.abs(mean + three), np.abs(mean - three))
    return bound.reshape(rows, 1)


def quantize(
    weight: F32, types: Sequence[str], bits: int, low: int = 75, high: int = 150
) -> OliveResult:
    """Quantize a weight as the release does, with its searches of the type and of alpha.

    More than six bits are always int, whatever type is named.

    Args:
        weight: ``[out, in]``; read as float32. Rows with NaN or infinities keep them.
        types: ``int``, ``flint``, or both: that of least error for the whole tensor.
        bits: Width of a code, the sign included: 3 to 8.
        low: First candidate of alpha, per cent of the row's three sigma bound.
        high: End of the candidates, itself excluded (the release's script for LLMs: 250).

    Raises:
        RequestError: an unknown type, a width it does not have, bad bounds, or no matrix.
    """
    weight = ant.check_request(weight, types, KINDS, range(low, high))
    outliers = outlier_grid(bits)
    tried = [kind for kind in KINDS if kind in types] if bits <= 6 else ["int"]
    with np.errstate(all="ignore"):
        base = _three_sigma(weight)

        def fit(normal: F32) -> tuple[F32, np.float32]:
            return ant.search(
                weight,
                base,
                range(low, high, 2),
                lambda alpha: _forward(weight, alpha, normal, outliers),
            )

        fits = [fit(grid(kind, bits)) for kind in tried]
        at = ant.first_of([score for _, score in fits])
        alpha, normal = fits[at][0], grid(tried[at], bits)
        dequantized = _forward(weight, alpha, normal, outliers)
    return OliveResult(dequantized, alpha, normal, outliers, tried[at])
