"""Element types: what each code of a number format stands for, derived from a few facts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class IntType:
    """Integers. Symmetric: two's complement, ``±(2^(b-1)-1)``; asymmetric: ``0..2^b-1`` less z.

    The most negative two's complement code is never produced, but decodes to its value
    (BitMoD, AWQ: 15 levels at 4 bits; spec of the ranges in use: docs/formats.md).
    """

    bits: int
    symmetric: bool = True

    @property
    def maximum(self) -> int:
        """The largest level."""
        return int(2 ** (self.bits - 1) - 1 if self.symmetric else 2**self.bits - 1)

    @cached_property
    def levels(self) -> F32:
        """The value of every code, ``[2^bits]``; for asymmetric types before the zero point."""
        codes = np.arange(2**self.bits)
        if self.symmetric:
            codes = np.where(codes >= 2 ** (self.bits - 1), codes - 2**self.bits, codes)
        return codes.astype(np.float32)

    @property
    def unit(self) -> float:
        """The greatest common divisor of the levels."""
        return 1.0


@dataclass(frozen=True)
class FloatType:
    """Sign, exponent and mantissa with subnormals, without Inf or NaN (OCP MX v1.0, section 5.3).

    Codes are sign-magnitude; the code of −0 (``1 << (bits-1)``) is spare unless a format fills it.
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int = 1

    @property
    def bits(self) -> int:
        """Width of a code, the sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def negative_zero(self) -> int:
        """The code of −0."""
        return 1 << (self.bits - 1)

    @cached_property
    def levels(self) -> F32:
        """The value of every code, ``[2^bits]``."""
        codes = np.arange(self.negative_zero)
        exponent, mantissa = codes >> self.mantissa_bits, codes & (2**self.mantissa_bits - 1)
        normal = exponent > 0
        significand = mantissa + normal * 2**self.mantissa_bits
        power = np.where(normal, exponent, 1) - self.bias - self.mantissa_bits
        positive = np.ldexp(significand.astype(np.float32), power)
        return np.concatenate([positive, -positive]).astype(np.float32)

    @property
    def maximum(self) -> float:
        """The largest level."""
        return float(self.levels.max())

    @property
    def unit(self) -> float:
        """The smallest step between levels: every level is a multiple of it."""
        if self.mantissa_bits == 0:
            return float(2.0 ** (1 - self.bias))
        return float(2.0 ** (1 - self.bias - self.mantissa_bits))


@dataclass(frozen=True)
class PlainType:
    """An ordinary floating-point type, stored as it is: no groups, no scales, no codes."""

    bits: int
