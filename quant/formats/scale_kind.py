"""What a kind of group scale answers: how it is stored, its value, what a PE multiplies by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.formats.elements import F32

I32 = NDArray[np.int32]


class Scales(NamedTuple):
    """Group scales ``[out, groups]`` as stored, what rows and tensor add, and float32 as used.

    ``inverse``: group scales are divided by the tensor's (compressed-tensors' ``global_scale``).
    """

    stored: NDArray[np.generic]
    rows: NDArray[np.float16] | None
    used: F32
    tensor: np.float32 | None = None
    inverse: bool = False


@dataclass(frozen=True)
class ScaleKind:
    """A way to store the scale of a group.

    Attributes:
        name: What users type.
        bits: Stored bits of a group's scale.
        dtype: numpy's name of the stored type.
        row_bits: Stored bits that a row adds.
        multiplied_bits: Bits of the integer that a bit-serial PE multiplies a group's sum by; None:
            it takes no such scale.
        id: The kind's number in the packets of the Verilog; it never changes; None: it has none.
        takes_tensor_scale: Whether a float32 scale of the tensor may lie above the groups'.
        is_coarse: Whether stored values lie so far apart (a power of two, three bits of mantissa)
            that candidates are compared under the stored scale, and that nothing can be learned
            by moving a scale a little.
    """

    name: str
    bits: int
    dtype: str = "uint8"
    row_bits: int = 0
    multiplied_bits: int | None = None
    id: int | None = None
    takes_tensor_scale: bool = False
    is_coarse: bool = False
    limits: ClassVar[str] = ""
    """The stored codes that stand for a positive number, in words."""

    def __str__(self) -> str:
        return self.name

    def store(self, raw: F32, tensor: np.float32 | None = None) -> Scales:
        """Return raw scales ``[out, groups]`` float32 as this kind stores them.

        Args:
            raw: Finite, not negative.
            tensor: The tensor's scale, that the groups' are relative to; None: there is none.

        Raises:
            RequestError: a kind that says not how.
        """
        raise RequestError(f"scale {self.name!r} does not say how it is stored")

    def store_under(self, raw: F32, above: Scales) -> Scales:
        """Store other scales ``[out, n]`` under the row and tensor scales of ``above``."""
        return self.store(raw, above.tensor)

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return the value of stored scales, ``[out, groups]`` float32.

        Raises:
            RequestError: a kind that says not which.
        """
        raise RequestError(f"scale {self.name!r} does not say what its stored values mean")

    def is_number(self, stored: NDArray[np.generic]) -> NDArray[np.bool_]:
        """Return which stored scales stand for a finite number that is not negative."""
        return np.ones(stored.shape, np.bool_)

    def multiplier(self, stored: NDArray[np.generic]) -> tuple[I32, I32]:
        """Return what a PE multiplies by: ``integer * 2^exponent`` is the group's scale.

        Raises:
            RequestError: a kind that no PE multiplies by.
        """
        raise RequestError(f"scale {self.name!r} is no integer times a power of two: no PE has it")
