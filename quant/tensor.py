"""QuantizedTensor: a weight *is* its packed codes, scales, selectors and zero points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from quant.datatypes import F32
from quant.formats import FormatSpec
from quant.packing import U8, unpack

Value = TypeVar("Value", bound=np.generic)


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A quantized ``[out, in]`` weight.

    Attributes:
        spec: Format, group size and scale.
        shape: ``(out, in)``.
        codes: Packed codes, ``[out, ceil(in*bits/8)]`` uint8.
        scales: ``[out, groups]``: float16, float32, or uint8 under a row scale.
        row_scales: ``[out]`` float16 for ``int8`` scales, else None.
        selectors: ``[out, groups]`` uint8, the group's special value; None where there is none.
        zero_points: ``[out, groups]`` uint8; None for symmetric formats.
    """

    spec: FormatSpec
    shape: tuple[int, int]
    codes: U8
    scales: NDArray[np.generic]
    row_scales: NDArray[np.float16] | None = None
    selectors: U8 | None = None
    zero_points: U8 | None = None

    @property
    def storage_bits(self) -> int:
        """All stored bits."""
        return self.spec.storage_bits(*self.shape)

    @property
    def effective_bits(self) -> float:
        """Stored bits per weight, with scales, selectors and zero points."""
        return self.spec.effective_bits(*self.shape)

    def unpack_codes(self) -> U8:
        """Return the codes, ``[out, in]`` uint8, one a byte."""
        return unpack(self.codes, self.spec.format.element_bits, self.shape[1])

    def group_scales(self) -> F32:
        """Return the scale of each group as it is used, ``[out, groups]`` float32.

        With int8 scales this is the exact product of the 8-bit scale and the row's fp16 scale.
        """
        scales = self.scales.astype(np.float32)
        if self.row_scales is not None:
            scales *= self.row_scales.astype(np.float32)[:, None]
        return scales

    def levels(self) -> F32:
        """Return the value of each code before scaling, less the zero point, ``[out, in]``."""
        codes, tables = self.unpack_codes(), self.spec.format.tables
        if self.selectors is not None:
            chosen: F32 = tables[self._by_weight(self.selectors), codes]
            return chosen
        levels: F32 = tables[0][codes]
        if self.zero_points is not None:
            levels -= self._by_weight(self.zero_points).astype(np.float32)
        return levels

    def dequantize(self) -> F32:
        """Return ``level * scale``, ``[out, in]`` float32."""
        values = self.levels()
        values *= self._by_weight(self.group_scales())
        return values

    def _by_weight(self, per_group: NDArray[Value]) -> NDArray[Value]:
        return np.repeat(per_group, self.spec.group_size, axis=1)[:, : self.shape[1]]
