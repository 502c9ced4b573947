"""Element types: what each code of a number format stands for, derived from a few facts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class IntType:
    """Integers. Symmetric: two's complement, ``±(2^(b-1)-1)``; asymmetric: ``0..2^b-1`` less z.

    Under the rule ``absmax`` the most negative two's complement code is never produced, but
    decodes to its value (BitMoD, AWQ: 15 levels at 4 bits; ranges in use: docs/formats.md).
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
    """Sign, exponent and mantissa with subnormals (OCP OFP8 rev 1.0; OCP MX v1.0, section 5.3).

    Codes are sign-magnitude; the code of −0 (``1 << (bits-1)``) is spare unless a format fills it.

    Attributes:
        exponent_bits: Width of the exponent.
        mantissa_bits: Width of the mantissa without its hidden bit.
        bias: Subtracted from the stored exponent.
        specials: ``none``: every code is finite; ``nan``: the all-ones code of each sign is NaN
            (E4M3FN); ``ieee``: the largest exponent holds Inf and NaN (E5M2); ``fnuz``: the code
            of −0 is NaN, every other is finite.
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int = 1
    specials: Literal["none", "nan", "ieee", "fnuz"] = "none"

    @property
    def bits(self) -> int:
        """Width of a code, the sign included."""
        return 1 + self.exponent_bits + self.mantissa_bits

    @property
    def has_infinity(self) -> bool:
        """Whether the largest exponent holds Inf and NaN."""
        return self.specials == "ieee"

    @property
    def has_specials(self) -> bool:
        """Whether some codes are no finite numbers."""
        return self.specials != "none"

    @property
    def is_unsigned_zero(self) -> bool:
        """Whether the code of −0 is NaN."""
        return self.specials == "fnuz"

    @property
    def reserved(self) -> int:
        """Codes of each sign above the largest finite one."""
        return {"none": 0, "fnuz": 0, "nan": 1, "ieee": 1 << self.mantissa_bits}[self.specials]

    @property
    def negative_zero(self) -> int:
        """The code of −0."""
        return 1 << (self.bits - 1)

    @cached_property
    def levels(self) -> F32:
        """The value of every code, ``[2^bits]``, with NaN and Inf where the type has them."""
        codes = np.arange(self.negative_zero)
        exponent, mantissa = codes >> self.mantissa_bits, codes & (2**self.mantissa_bits - 1)
        normal = exponent > 0
        significand = mantissa + normal * 2**self.mantissa_bits
        power = np.where(normal, exponent, 1) - self.bias - self.mantissa_bits
        with np.errstate(over="ignore"):  # BF16's Inf and NaN, which are set below
            positive = np.ldexp(significand.astype(np.float32), power)
        if self.specials == "nan":
            positive[-1] = np.nan
        if self.specials == "ieee":
            top = exponent == 2**self.exponent_bits - 1
            positive[top] = np.where(mantissa[top] == 0, np.inf, np.nan)
        values = np.concatenate([positive, -positive]).astype(np.float32)
        if self.specials == "fnuz":
            values[self.negative_zero] = np.nan
        return values

    @property
    def maximum(self) -> float:
        """The largest finite level."""
        return float(self.levels[np.isfinite(self.levels)].max())

    @property
    def unit(self) -> float:
        """The smallest step between levels: every level is a multiple of it."""
        if self.mantissa_bits == 0:
            return float(2.0 ** (1 - self.bias))
        return float(2.0 ** (1 - self.bias - self.mantissa_bits))


@dataclass(frozen=True)
class Codebook:
    """Any list of levels: ``values[code]``. A shorter list leaves the last codes without use."""

    bits: int
    values: tuple[float, ...]
    unit: float = 1.0

    @cached_property
    def levels(self) -> F32:
        """The value of every code, ``[2^bits]``; codes without use decode to NaN."""
        padding = [np.nan] * (2**self.bits - len(self.values))
        return np.array([*self.values, *padding], np.float32)

    @property
    def maximum(self) -> float:
        """The largest magnitude."""
        return float(np.nanmax(np.abs(self.levels)))


@dataclass(frozen=True)
class PlainType:
    """An ordinary floating-point type, stored as it is: no groups, no scales, no codes."""

    bits: int


Element = IntType | FloatType | Codebook | PlainType
