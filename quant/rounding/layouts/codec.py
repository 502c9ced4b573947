"""Codecs: how ``[out, in]`` weights become the arrays of a layout, and back.

``quant.formats.layout`` says which arrays a layout has; here is the arithmetic. Codecs take and
return arrays by name, and know no tensor class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.grid import Grid
from quant.formats.spec import FormatSpec
from quant.rounding.fit import Backend, Fit
from quant.rounding.packing import U8

Arrays: TypeAlias = Mapping[str, NDArray[Any]]
"""The arrays of a tensor by name (``FormatSpec.arrays`` gives their shapes and types)."""


@dataclass(frozen=True)
class Columns:
    """What rounds the columns of a weight one by one (GPTQ).

    Attributes:
        grid: Levels to round to; of codebooks one candidate a row.
        fit: Scales, candidates and zero points of every group.
        finish: Makes the arrays of the tensor from packed codes, once all columns are rounded.
        refits: Whether the parameters of a group may be fitted anew on the way.
    """

    grid: Grid
    fit: Fit
    finish: Callable[[U8], Arrays]
    refits: bool


class Codec(Protocol):
    """The arithmetic of a layout."""

    def encode(
        self, weight: F32, spec: FormatSpec, *, importance: F32 | None = None,
        backend: Backend = "numba",
    ) -> Arrays:  # fmt: skip
        """Round ``[out, in]`` float32 weights to nearest.

        Args:
            weight: Finite, but that a codec that looks at every weight may be handed others and
                then raises.
            spec: A format of this layout.
            importance: ``[in]`` or ``[out, in]``: how much the error of each weight counts, for
                codecs that search.
            backend: Kernels, or the readable reference where there is one; the codes are equal.

        Raises:
            RequestError: NaN or Inf among the weights.
        """

    def decode(self, arrays: Arrays, spec: FormatSpec, shape: tuple[int, int]) -> F32:
        """Return the weights that the arrays mean, ``[out, in]`` float32."""

    def columns(
        self, weight: F32, spec: FormatSpec, diagonal: F32, *, shrinks: tuple[float, ...] = (),
        norm: float = 2.0, weighted: bool = False,
    ) -> Columns:  # fmt: skip
        """Return what rounds the columns one by one.

        Args:
            weight: ``[out, in]`` float32, finite.
            spec: A format of this layout.
            diagonal: ``[in]``, diagonal of the Hessian of the layer's outputs.
            shrinks: Multiples of every group's range to try (grids).
            norm: Power of the errors that clipping compares.
            weighted: Whether clipping weighs each column by the diagonal.

        Raises:
            RequestError: a layout whose codes do not belong to one weight each.
        """


def unpacked(arrays: Arrays, spec: FormatSpec, columns: int) -> U8:
    """Return the codes, ``[out, in]`` uint8, one a byte."""
    from quant.rounding.kernels import rounding as kernels

    return kernels.unpack(arrays["codes"], spec.element_bits, columns)


def scales_used(arrays: Arrays, spec: FormatSpec) -> F32:
    """Return the scale of each group as it is used, ``[out, groups]`` float32.

    With int8 scales this is the exact product of the 8-bit scale and the row's fp16 scale.
    """
    tensor = arrays.get("tensor_scale")
    above = None if tensor is None else np.float32(tensor.reshape(-1)[0])
    inverse = spec.scale_rule.divides_by_tensor
    return spec.scale.used(arrays["scales"], arrays.get("row_scales"), above, inverse)


def need_grid(spec: FormatSpec, what: str) -> None:
    """Raise a RequestError if a format is no grid of levels under group scales."""
    if not spec.format.layout.is_grid:
        raise RequestError(
            f"{what} needs a grid of levels: {spec.name} has {spec.format.layout.name}"
        )


def not_by_columns(spec: FormatSpec) -> RequestError:
    """Return the error of a layout whose codes do not belong to one weight each."""
    layout = spec.format.layout.name
    return RequestError(f"gptq rounds column by column: {spec.name} has {layout}")
