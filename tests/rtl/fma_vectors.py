"""Operands of the baseline FMAs and their results by Berkeley SoftFloat."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import softfloatpy
from numpy.typing import NDArray

Bits = NDArray[np.uint16]

CANONICAL_NAN = 0x7E00
MAGNITUDES = (
    *(0x0000, 0x0001, 0x0002, 0x0003, 0x01FF, 0x0200, 0x0201, 0x03FE, 0x03FF),  # subnormals
    *(0x0400, 0x0401, 0x07FF, 0x0800, 0x0801, 0x0BFF, 0x0C00),  # smallest normals
    *(0x1000, 0x13FF, 0x1400, 0x1800, 0x2000, 0x2C00, 0x3555),
    *(0x3800, 0x3BFF, 0x3C00, 0x3C01, 0x3FFF, 0x4000, 0x4200),  # around one
    *(0x5BFF, 0x5C00, 0x6400, 0x6401, 0x7000, 0x77FF, 0x7800, 0x7BFE, 0x7BFF),  # largest
    *(0x7C00, 0x7C01, 0x7DFF, 0x7E00, 0x7E01, 0x7FFF),  # infinity and NaNs
)
CORNERS = np.array([sign | m for sign in (0, 0x8000) for m in MAGNITUDES], np.uint16)
INT8_CORNERS = np.array([0, 1, 2, 3, 5, 7, 8, 64, 85, 127, -1, -2, -3, -63, -64, -127, -128])
_FLOATS = [softfloatpy.Float16.from_bytes(code.to_bytes(2, "big")) for code in range(1 << 16)]


def golden(a: Bits, b: Bits, c: Bits) -> Bits:
    """Return a * b + c by SoftFloat, to nearest even, every NaN made canonical."""
    softfloatpy.set_rounding_mode(softfloatpy.RoundingMode.NEAR_EVEN)
    fma, floats = softfloatpy.f16_mul_add, _FLOATS
    triples = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    done = b"".join([fma(floats[x], floats[y], floats[z]).to_bytes() for x, y, z in triples])
    z = np.frombuffer(done, ">u2").astype(np.uint16)
    z[(z & 0x7FFF) > 0x7C00] = CANONICAL_NAN
    return z


def int8_as_half(w: NDArray[np.int8]) -> Bits:
    """Return the binary16 codes of INT8 values; all are exact."""
    return w.astype(np.float16).view(np.uint16)


def crossed(b: Bits) -> tuple[Bits, Bits, Bits]:
    """Return every corner of a and c with every one of b."""
    grid = np.array(list(product(CORNERS, b, CORNERS)), np.uint16)
    return grid[:, 0], grid[:, 1], grid[:, 2]


def uniform(rng: np.random.Generator, b: Bits) -> tuple[Bits, Bits, Bits]:
    """Return random bit patterns for a and c beside the b given."""
    a, c = rng.integers(0, 1 << 16, (2, len(b)), np.uint16)
    return a, b, c


def near(rng: np.random.Generator, b: Bits) -> tuple[Bits, Bits, Bits]:
    """Return cases where c is near -a * b: cancellation, exact zeros, last-place residues."""
    a = random_finite(rng, len(b))
    with np.errstate(over="ignore", invalid="ignore"):
        ideal = -(a.view(np.float16).astype(np.float64) * b.view(np.float16)).astype(np.float16)
    step = rng.integers(-3, 4, len(b))
    c = (ideal.view(np.uint16).astype(np.int64) + step) & 0xFFFF
    return a, b, c.astype(np.uint16)


def border(rng: np.random.Generator, b: Bits, exponent: int) -> tuple[Bits, Bits, Bits]:
    """Return cases whose product and c both lie about 2^exponent, to cross a border together."""
    factor = np.frexp(np.abs(b.view(np.float16).astype(np.float64)))[1]
    reach = rng.integers(-3, 3, (2, len(b))) + exponent
    mantissa = rng.uniform(1, 2, (2, len(b))) * rng.choice([-1.0, 1.0], (2, len(b)))
    with np.errstate(over="ignore"):
        a = np.ldexp(mantissa[0], reach[0] - factor).astype(np.float16).view(np.uint16)
        c = np.ldexp(mantissa[1], reach[1]).astype(np.float16).view(np.uint16)
    return a, b, c


def random_finite(rng: np.random.Generator, count: int) -> Bits:
    """Return random finite codes; every exponent, zero's included, is as likely."""
    return (rng.integers(0, 31 << 10, count) | (rng.integers(0, 2, count) << 15)).astype(np.uint16)


def sparse_finite(rng: np.random.Generator, count: int) -> Bits:
    """Return finite codes whose mantissas have few ones or few zeros: ties and carry chains."""
    codes = random_finite(rng, count)
    ones = np.uint16(0x3FF) << rng.integers(0, 11, count).astype(np.uint16) & np.uint16(0x3FF)
    bit = np.uint16(1) << rng.integers(0, 10, count).astype(np.uint16)
    mantissa = ones ^ np.where(rng.random(count) < 0.5, bit, 0).astype(np.uint16)
    return (codes & np.uint16(0xFC00)) | mantissa


def sparse(rng: np.random.Generator, b: Bits) -> tuple[Bits, Bits, Bits]:
    """Return sparse a and c beside the b given."""
    return sparse_finite(rng, len(b)), b, sparse_finite(rng, len(b))


def operands(count: int, seed: int, int8: bool) -> NDArray[np.uint16]:
    """Return rows a, b, c of at least ``count`` columns: crossed corners, then random families.

    With ``int8`` every b is the binary16 code of an INT8 value.
    """
    rng = np.random.default_rng(seed)

    def some(n: int, few_bits: bool = False) -> Bits:
        if int8:
            return int8_as_half(rng.integers(-128, 128, n, np.int8))
        return sparse_finite(rng, n) if few_bits else random_finite(rng, n)

    corners = crossed(int8_as_half(INT8_CORNERS.astype(np.int8)) if int8 else CORNERS)
    share = max(0, count - len(corners[0])) // 6 + 1
    free = some(share) if int8 else rng.integers(0, 1 << 16, share, np.uint16)
    families = [corners, uniform(rng, free), near(rng, some(share)), near(rng, some(share, True))]
    families += [border(rng, some(share), -14), border(rng, some(share), 16)]
    families.append(sparse(rng, some(share, True)))
    return np.concatenate([np.stack(family) for family in families], axis=1)


def write_vectors(path: Path, abc: NDArray[np.uint16], z: Bits, int8: bool) -> None:
    """Write one line ``a b c z`` in hex per vector; with ``int8`` b is the integer itself."""
    rows = np.concatenate([abc, z[None]]).astype(">u2")
    if int8:
        rows[1] = rows[1].astype(np.uint16).view(np.float16).astype(np.int8).view(np.uint8)
    text = rows.T.tobytes().hex(" ", 2)
    path.write_text("\n".join(text[i : i + 19] for i in range(0, len(text), 20)) + "\n")
