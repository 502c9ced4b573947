"""A kind of scale: an unsigned 8-bit float with 5 exponent and 3 mantissa bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32
from quant.formats.scale_kind import I32, ScaleKind, Scales
from quant.formats.scales import register_scale


@dataclass(frozen=True)
class E5M3Scale(ScaleKind):
    """``(8 + m) * 2^(e - 27)``, rounded to nearest, without sign, zero or NaN."""

    bias: ClassVar[int] = 27

    def store(self, raw: F32, tensor: np.float32 | None = None) -> Scales:
        """Round the mantissa; beyond the range the ends are taken."""
        mantissa, exponent = np.frexp(np.maximum(raw, np.float32(2.0**-40)))
        eighths = np.rint(mantissa * 16).astype(np.int32)  # 8..16
        exponent = exponent - 4 + (eighths == 16)
        eighths = np.where(eighths == 16, 8, eighths)
        codes = np.clip(((exponent + self.bias) << 3) + eighths - 8, 0, 255).astype(np.uint8)
        return Scales(codes, None, self.used(codes))

    def used(
        self,
        stored: NDArray[np.generic],
        rows: NDArray[np.float16] | None = None,
        tensor: np.float32 | None = None,
        inverse: bool = False,
    ) -> F32:
        """Return the values of the codes."""
        integers, exponents = self.multiplier(stored)
        return np.ldexp(integers.astype(np.float32), exponents).astype(np.float32)

    def multiplier(self, stored: NDArray[np.generic]) -> tuple[I32, I32]:
        """Return the mantissa with its hidden bit, and the exponent."""
        codes = stored.astype(np.int32)
        return (codes & 7) + 8, (codes >> 3) - self.bias


E5M3 = register_scale(E5M3Scale("e5m3", 8, multiplied_bits=4))
