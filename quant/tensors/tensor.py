"""QuantizedTensor: a weight *is* its packed codes, scales, selectors and zero points."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.rounding.layouts.codec import Arrays, need_grid, scales_used, unpacked
from quant.rounding.layouts.codecs import codec_of
from quant.rounding.packing import U8


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
        extra: Further arrays of a layout of the user's, by name.
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
    extra: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        arguments.one_of("spec", self.spec, FormatSpec, "a FormatSpec")
        object.__setattr__(self, "shape", _sizes(self.shape))
        arguments.table("extra", self.extra, _array)
        for name in PARTS:
            if getattr(self, name) is not None:
                _array(name, getattr(self, name))
        if fault := fault_of(self.spec, self.shape, self.arrays):
            raise RequestError(fault)

    @classmethod
    def of(cls, spec: FormatSpec, shape: tuple[int, int], arrays: Arrays) -> QuantizedTensor:
        """Return the tensor of a layout's arrays, by name.

        Raises:
            RequestError: arrays that the format does not have for that shape, or a plain format.
        """
        arrays = arguments.table("arrays", arrays, _array)
        own: dict[str, Any] = {"codes": None, "scales": None}  # both are asked for
        own |= {name: array for name, array in arrays.items() if name in PARTS}
        extra = {name: array for name, array in arrays.items() if name not in PARTS}
        return cls(spec, shape, **own, extra=extra)

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays that it has, by name."""
        own = {name: getattr(self, name) for name in PARTS}
        return {name: array for name, array in own.items() if array is not None} | dict(self.extra)

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
        return unpacked(self.arrays, self.spec, self.shape[1])

    def group_scales(self) -> F32:
        """Return the scale of each group as it is used, ``[out, groups]`` float32.

        With int8 scales this is the exact product of the 8-bit scale and the row's fp16 scale.
        """
        return scales_used(self.arrays, self.spec)

    def group_zeros(self) -> F32:
        """Return the zero point of each group, ``[out, groups]`` float32; 0 where there is none."""
        from quant.rounding.layouts import grid

        return grid.zeros_of(self.arrays)

    def group_selectors(self) -> U8:
        """Return the table of each group, ``[out, groups]`` uint8."""
        from quant.rounding.layouts import grid

        return grid.selectors_of(self.arrays)

    def levels(self) -> F32:
        """Return the value of each code before scaling, less the zero point, ``[out, in]``.

        Raises:
            RequestError: a format that is no grid of levels.
        """
        from quant.rounding.layouts import grid

        need_grid(self.spec, "levels()")
        ones = np.ones(self.scales.shape, np.float32)
        return grid.decode(self.arrays, self.spec, self.shape, ones)

    def dequantize(self) -> F32:
        """Return the weights that the codes mean, ``[out, in]`` float32: ``level * scale``."""
        return codec_of(self.spec.format.layout).decode(self.arrays, self.spec, self.shape)


def fault_of(spec: FormatSpec, shape: tuple[int, int], arrays: Arrays) -> str:
    """Return what is wrong with the shapes and types of a tensor's arrays; empty: nothing."""
    wanted = spec.arrays(shape)
    for part in sorted({*wanted, *arrays}):
        given = arrays.get(part)
        has = None if given is None else given.shape
        size, kind = wanted.get(part, (None, ""))
        if has != size:
            return f"{part} has shape {has}, {size} is needed"
        if given is not None and given.dtype != kind:
            return f"{part} is {given.dtype}, {kind} is needed"
    return ""


def _sizes(shape: object) -> tuple[int, int]:
    sizes = arguments.several("shape", shape, partial(arguments.integer, least=1))
    if len(sizes) != 2:
        raise RequestError(f"shape {sizes} is not allowed: (out, in) is needed")
    return sizes[0], sizes[1]


def _array(name: str, value: object) -> NDArray[Any]:
    return arguments.one_of(name, value, np.ndarray, "a numpy array")


PARTS = tuple(sorted({part.name for part in fields(QuantizedTensor)} - {"spec", "shape", "extra"}))
"""The arrays that tensors of built-in layouts may have."""
