"""Formats of the PE's activations: how a word becomes sign, exponent and mantissa.

Every finite word is ``(-1)^sign * mantissa * 2^(exponent - point)``, subnormals and both zeros
included; ``docs/pe_arithmetic.md`` section 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant import cast
from quant.common.errors import RequestError, unknown_name
from quant.formats.elements import FloatType

I32 = NDArray[np.int32]


class Fields(NamedTuple):
    """The parts of activation words, each int32 of the words' shape.

    ``exponent`` is the biased field, 1 for subnormals and zeros; ``mantissa`` has the hidden bit.
    """

    sign: I32
    exponent: I32
    mantissa: I32
    finite: NDArray[np.bool_]


@dataclass(frozen=True)
class ActivationFormat:
    """A format of activations.

    Attributes:
        name: What users type.
        element: Its minifloat; None for two's complement integers of 8 bits.
        source: Standard that defines it.
        id: Its number in the parameters of the Verilog (``activation_e``), which never changes.
        numpy: numpy's own type of such numbers, which rounds as ``quant.cast`` and faster; None:
            numpy has none.
    """

    name: str
    element: FloatType | None
    source: str
    id: int
    numpy: type[np.floating[Any]] | None = None

    @property
    def bits(self) -> int:
        """Width of a word."""
        return 8 if self.element is None else self.element.bits

    @property
    def exponent_bits(self) -> int:
        """Width of the exponent that enters the PE; an integer's is the constant 1."""
        return 1 if self.element is None else self.element.exponent_bits

    @property
    def mantissa_bits(self) -> int:
        """Width of the mantissa with its hidden bit; an integer's magnitude reaches 128."""
        return 8 if self.element is None else self.element.mantissa_bits + 1

    @property
    def largest_exponent(self) -> int:
        """The largest exponent of a finite word."""
        if self.element is None:
            return 1
        reserved = int(self.element.has_infinity)
        return (1 << self.element.exponent_bits) - 1 - reserved

    @property
    def point(self) -> int:
        """The exponent at which a mantissa of 1 has the value 1."""
        return 1 if self.element is None else self.element.bias + self.element.mantissa_bits

    @property
    def largest(self) -> float:
        """The largest value."""
        return 127.0 if self.element is None else self.element.maximum

    def fields(self, words: NDArray[Any]) -> Fields:
        """Split words into their parts; ``finite`` is False for Inf and NaN."""
        raw = words.astype(np.int32)
        if self.element is None:
            value = (raw + 128) % 256 - 128
            every = np.ones(raw.shape, np.bool_)
            return Fields((value < 0).astype(np.int32), np.ones_like(raw), np.abs(value), every)
        width, top = self.element.mantissa_bits, 2**self.element.exponent_bits - 1
        field, fraction = raw >> width & top, raw & (2**width - 1)
        mantissa = fraction + (field > 0) * np.int32(2**width)
        # Codes above the largest finite one, by magnitude: Inf and NaN.
        finite = ((field << width) + fraction) < 2 ** (self.bits - 1) - self.element.reserved
        return Fields(raw >> (self.bits - 1) & 1, np.maximum(field, 1), mantissa, finite)

    def words(self, values: NDArray[Any]) -> NDArray[Any]:
        """Round values to words (to nearest, ties to even; Inf above the largest, NaN kept).

        Integers are not rounded.

        Raises:
            RequestError: INT8, and a value that is no integer in -128..127 (with its index).
        """
        if self.element is None:
            wrong = ~((values >= -128) & (values <= 127) & (np.rint(values) == values))
            if wrong.any():
                at = tuple(int(i) for i in np.argwhere(wrong)[0])
                raise RequestError(
                    f"activation {list(at)} is {values[at]}: an integer in -128..127 is needed"
                )
            return values.astype(np.int8).view(np.uint8)
        if self.numpy is not None:
            with np.errstate(over="ignore"):
                return np.ascontiguousarray(values, self.numpy).view(f"u{self.bits // 8}")
        return cast.cast(values, self.element, overflow="special", infinity="special")


_OFP8 = "OCP OFP8 rev 1.0, table 1"
_FORMATS = (
    ActivationFormat("fp16", cast.WIDE_TYPES["fp16"], "IEEE 754-2019 binary16", 0, np.float16),
    ActivationFormat("bf16", cast.WIDE_TYPES["bf16"], "bfloat16: the upper half of binary32", 1),
    ActivationFormat("fp8-e4m3", cast.SCALAR_TYPES["e4m3fn"], _OFP8, 2),
    ActivationFormat("fp8-e5m2", cast.SCALAR_TYPES["e5m2"], _OFP8, 3),
    ActivationFormat("int8", None, "two's complement, value -128..127", 4),
)
ACTIVATIONS: dict[str, ActivationFormat] = {entry.name: entry for entry in _FORMATS}


def activation_format(name: str) -> ActivationFormat:
    """Return the activation format of that name.

    Raises:
        RequestError: no such format; the message gives those that there are.
    """
    if not isinstance(name, str) or name not in ACTIVATIONS:
        raise unknown_name("activation format", str(name), ACTIVATIONS)
    return ACTIVATIONS[name]
