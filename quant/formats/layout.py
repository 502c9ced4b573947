"""Layouts: which arrays a tensor of a format has, and how many bits it stores.

A layout knows facts alone; how weights become its arrays and back is its codec
(``quant.rounding.layouts.codec``). To add a layout, subclass ``Layout``, give a format an instance
of it, and ``register_codec`` a codec for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol, TypeAlias

from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind

ROW = 1 << 30
"""The group size that means: one group a row."""
Shape: TypeAlias = tuple[int, ...]
ArrayTypes: TypeAlias = Mapping[str, tuple[Shape, str]]
"""Name of an array to its shape and numpy type."""


class Specified(Protocol):
    """What a layout is told of a specification; ``quant.formats.spec.FormatSpec`` is one."""

    @property
    def name(self) -> str:
        """The format's name."""

    @property
    def group_size(self) -> int:
        """Weights of a group."""

    @property
    def own_group_size(self) -> int:
        """Weights of a group where nothing else is asked for."""

    @property
    def scale(self) -> ScaleKind:
        """Kind of the groups' scales."""

    @property
    def own_scale(self) -> ScaleKind:
        """Kind of scale where nothing else is asked for."""

    @property
    def element_bits(self) -> int:
        """Bits of a code."""

    @property
    def selector_bits(self) -> int:
        """Bits of a group's selector."""

    @property
    def zero_point_bits(self) -> int:
        """Bits of a group's zero point."""

    @property
    def has_selectors(self) -> bool:
        """Whether groups, or the tensor, choose among candidates."""

    @property
    def selects_per_tensor(self) -> bool:
        """Whether the tensor makes one choice for all groups."""

    @property
    def has_tensor_scale(self) -> bool:
        """Whether a float32 scale of the tensor lies above the groups'."""

    def groups(self, columns: int) -> int:
        """Return how many groups a row has."""


@dataclass(frozen=True)
class Layout:
    """Codes and group scales as arrays of a tensor; the base of all layouts.

    Attributes:
        name: What messages call it.
        is_grid: Whether a weight is a level times the scale of its group, so that scales can be
            fitted, clipped and learned.
        has_own_scale: Whether the kind of scale and the group size are fixed by the format.
        rounds_by_columns: Whether the columns of a weight can be rounded one after the other
            (GPTQ); False where a codec's ``columns`` raises.
    """

    name: str
    is_grid: ClassVar[bool] = False
    has_own_scale: ClassVar[bool] = False
    rounds_by_columns: ClassVar[bool] = True

    def check(self, spec: Specified) -> None:
        """Raise a RequestError for a group size or kind of scale that the layout does not allow."""
        if not self.has_own_scale:
            return
        if spec.scale != spec.own_scale:
            raise RequestError(f"scale {str(spec.scale)!r}: {spec.name} has its own")
        if spec.group_size != spec.own_group_size:
            raise RequestError(
                f"group size {spec.group_size}: {spec.name} has its own, "
                f"{group_text(spec.own_group_size)}"
            )

    def storage_bits(self, spec: Specified, rows: int, columns: int) -> int:
        """Return all the bits that a ``[rows, columns]`` weight takes."""
        per_group = self.group_bits(spec) + spec.selector_bits + spec.zero_point_bits
        per_row = code_bits(spec, columns) + spec.groups(columns) * per_group + spec.scale.row_bits
        shared = 32 if spec.has_tensor_scale else 0
        if spec.has_selectors and spec.selects_per_tensor:
            shared += 8
        return rows * per_row + shared

    def group_bits(self, spec: Specified) -> int:
        """Return the bits of a group's scale, and of what else it has beside selector and zero."""
        return spec.scale.bits

    def arrays(self, spec: Specified, shape: tuple[int, int]) -> ArrayTypes:
        """Return the shape and numpy type of every array that an ``(out, in)`` tensor has."""
        rows, columns = shape
        groups = (rows, spec.groups(columns))
        wanted: dict[str, tuple[Shape, str]] = {
            "codes": ((rows, code_bits(spec, columns) // 8), "uint8"),
            "scales": (groups, spec.scale.dtype),
        }
        if spec.scale.row_bits:
            wanted["row_scales"] = ((rows,), "float16")
        if spec.has_tensor_scale:
            wanted["tensor_scale"] = ((1,), "float32")
        if spec.has_selectors:
            wanted["selectors"] = ((1, 1) if spec.selects_per_tensor else groups, "uint8")
        if spec.zero_point_bits:
            wanted["zero_points"] = (groups, "float16" if spec.zero_point_bits == 16 else "uint8")
        return wanted


@dataclass(frozen=True)
class GridLayout(Layout):
    """A weight is a level, less the zero point, times the scale of its group."""

    name: str = "grid"
    is_grid: ClassVar[bool] = True


@dataclass(frozen=True)
class PairLayout(Layout):
    """Outlier-victim pairs under one scale a row (OliVe).

    Attributes:
        base: Type of the normal codes: ``int4``, ``flint4``, ``int8``.
    """

    base: str = "int4"
    name: str = "pairs"
    rounds_by_columns: ClassVar[bool] = False

    def check(self, spec: Specified) -> None:
        """One group a row."""
        if spec.group_size != ROW:
            raise RequestError(f"group size {spec.group_size}: {spec.name} has one a row")


@dataclass(frozen=True)
class Hif4Layout(Layout):
    """Groups of 64 under an E6M2 scale, with one-bit exponents for 8 and for 4 weights (HiF4)."""

    name: str = "blocks"
    has_own_scale: ClassVar[bool] = True
    rounds_by_columns: ClassVar[bool] = False

    def group_bits(self, spec: Specified) -> int:
        """The scale, eight and sixteen one-bit exponents."""
        return spec.scale.bits + 8 + 16

    def arrays(self, spec: Specified, shape: tuple[int, int]) -> ArrayTypes:
        """Codes and scales, and three bytes of exponents a group."""
        exponents = ((shape[0], spec.groups(shape[1]), 3), "uint8")
        return {**super().arrays(spec, shape), "micro_exponents": exponents}


@dataclass(frozen=True)
class CodebookLayout(Layout):
    """A list of fp16 levels for each row, no scales."""

    name: str = "codebook"
    has_own_scale: ClassVar[bool] = True

    def storage_bits(self, spec: Specified, rows: int, columns: int) -> int:
        """Codes, and a codebook a row."""
        return rows * (code_bits(spec, columns) + (16 << spec.element_bits))

    def arrays(self, spec: Specified, shape: tuple[int, int]) -> ArrayTypes:
        """Codes, codebooks, and scales without columns."""
        rows, columns = shape
        return {
            "codes": ((rows, code_bits(spec, columns) // 8), "uint8"),
            "scales": ((rows, 0), "float16"),
            "codebooks": ((rows, 2**spec.element_bits), "float16"),
        }


GRID = GridLayout()


def code_bits(spec: Specified, columns: int) -> int:
    """Return the bits of a row's codes, padded to whole bytes."""
    return -(-columns * spec.element_bits // 8) * 8


def group_text(size: int) -> str:
    """Return a group size as format strings write it."""
    return "row" if size >= ROW else f"g{size}"
