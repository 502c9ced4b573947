"""QuantizedTensor: a weight *is* its packed codes, scales, selectors and zero points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from quant.formats.elements import F32
from quant.formats.scales import E4M3, power_of_two
from quant.formats.spec import FormatSpec
from quant.rounding.packing import U8

Value = TypeVar("Value", bound=np.generic)
PARTS = (
    "codes",
    "scales",
    "row_scales",
    "tensor_scale",
    "selectors",
    "zero_points",
    "codebooks",
    "micro_exponents",
)
"""The arrays that a tensor may have."""


@dataclass(frozen=True, eq=False)
class QuantizedTensor:
    """A quantized ``[out, in]`` weight.

    Attributes:
        spec: Format, group size, scale and rule.
        shape: ``(out, in)``.
        codes: Packed codes, ``[out, ceil(in*bits/8)]`` uint8.
        scales: ``[out, groups]``: float16, float32, or uint8 (int8, E8M0, E4M3, E6M2 codes);
            ``[out, 0]`` for codebooks.
        row_scales: ``[out]`` float16 for ``int8`` scales, else None.
        tensor_scale: ``[1]`` float32 over all scales (NVFP4, two levels), else None.
        selectors: ``[out, groups]`` uint8, the group's special value; ``[1, 1]`` where the tensor
            chose one; None where there is no choice.
        zero_points: ``[out, groups]`` uint8, or float16 under the rule ``float-zero``; None for
            symmetric formats.
        codebooks: ``[out, 2^bits]`` float16, the levels of each row; None but for codebooks.
        micro_exponents: ``[out, groups, 3]`` uint8, HiF4's one-bit exponents: a byte for groups
            of 8, two for groups of 4.
    """

    spec: FormatSpec
    shape: tuple[int, int]
    codes: U8
    scales: NDArray[np.generic]
    row_scales: NDArray[np.float16] | None = None
    selectors: U8 | None = None
    zero_points: NDArray[np.generic] | None = None
    tensor_scale: NDArray[np.float32] | None = None
    codebooks: NDArray[np.float16] | None = None
    micro_exponents: U8 | None = None

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
        from quant.rounding.kernels import rounding as kernels

        return kernels.unpack(self.codes, self.spec.format.element_bits, self.shape[1])

    def group_scales(self) -> F32:
        """Return the scale of each group as it is used, ``[out, groups]`` float32.

        With int8 scales this is the exact product of the 8-bit scale and the row's fp16 scale.
        """
        if self.spec.scale == "e8m0":
            return power_of_two(self.scales.astype(np.uint8))
        if self.spec.scale == "e4m3":
            scales = E4M3.levels[self.scales.astype(np.uint8)]
            if self.tensor_scale is None:
                return scales
            inverse = self.spec.scale_rule == "global"
            return scales / self.tensor_scale if inverse else scales * self.tensor_scale
        scales = self.scales.astype(np.float32)
        if self.row_scales is not None:
            scales *= self.row_scales.astype(np.float32)[:, None]
        return scales

    def group_zeros(self) -> F32:
        """Return the zero point of each group, ``[out, groups]`` float32; 0 where there is none."""
        if self.zero_points is None:
            return np.zeros(self.scales.shape, np.float32)
        return self.zero_points.astype(np.float32)

    def group_selectors(self) -> U8:
        """Return the table of each group, ``[out, groups]`` uint8."""
        if self.selectors is None:
            return np.zeros(self.scales.shape, np.uint8)
        return np.ascontiguousarray(np.broadcast_to(self.selectors, self.scales.shape))

    def levels(self) -> F32:
        """Return the value of each code before scaling, less the zero point, ``[out, in]``."""
        ones = np.ones(self.scales.shape, np.float32)
        return self._decode(ones)

    def dequantize(self) -> F32:
        """Return the weights that the codes mean, ``[out, in]`` float32: ``level * scale``."""
        from quant.rounding.layouts import layout as layouts

        if self.spec.format.layout != "grid":
            return layouts.decode(self)
        return self._decode(self.group_scales())

    def _decode(self, scales: F32) -> F32:
        from quant.rounding.kernels import rounding as kernels

        size, entry = min(self.spec.group_size, self.shape[1]), self.spec.format
        selectors, zeros = self.group_selectors(), self.group_zeros()
        return kernels.decode(
            self.codes, entry.element_bits, self.shape[1], size,
            scales, selectors, zeros, entry.tables,
        )  # fmt: skip
