"""What a number format is: an element type, and what a group of weights adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from quant.common.errors import RequestError
from quant.datatypes import F32, Codebook, Element, FloatType, IntType, PlainType

ROW = 1 << 30
"""The group size that means: one group a row."""
# The range of a group scale in units of the format's integer grid (BitMoD's released quantizer).
SCALE_FLOOR, SCALE_CEILING = 1e-5, 1e4
Layout = Literal["grid", "pairs", "hif4", "codebook"]
Ties = Literal["lower", "even", "upper"]


@dataclass(frozen=True)
class Format:
    """A number format of groups of weights.

    Attributes:
        name: What users type.
        element: What codes stand for.
        source: Paper, specification or code that defines it.
        special_values: Candidates, in search order, for the spare code of −0; each group chooses
            one, which its selector names (BitMoD, arXiv 2411.11745).
        alternatives: Further element types that may take the place of ``element``.
        selection: Whether each group or the whole tensor chooses among the candidates.
        group_size: Its own group size; None: the usual default.
        scale: Its own kind of scale; None: the usual default.
        rules: Ways to find the scale (``quant.fit``), the first by default.
        ties: Which of two equally near levels is taken: the lower, the upper, the even code.
        bounded: Whether scales are kept in BitMoD's range of 1e-5 to 1e4 steps.
        signed_zero: Whether a negative weight that rounds to zero takes the code of −0 (OCP MX,
            torchao, ml_dtypes).
        unused: Codes that are never produced.
        scale_top: The level that the largest weight is scaled to; None: the candidate's largest.
        layout: ``grid``: level times scale. Others have a module of their own.
    """

    name: str
    element: Element
    source: str
    special_values: tuple[float, ...] = ()
    alternatives: tuple[Codebook, ...] = ()
    selection: Literal["group", "tensor"] = "group"
    group_size: int | None = None
    scale: str | None = None
    rules: tuple[str, ...] = ("absmax",)
    ties: Ties = "lower"
    bounded: bool = True
    signed_zero: bool = False
    unused: tuple[int, ...] = ()
    scale_top: float | None = None
    layout: Layout = "grid"

    @property
    def element_bits(self) -> int:
        """Bits of one code."""
        return self.element.bits

    @property
    def is_plain(self) -> bool:
        """Whether weights are stored as they are."""
        return isinstance(self.element, PlainType)

    @property
    def is_asymmetric(self) -> bool:
        """Whether groups have zero points."""
        return isinstance(self.element, IntType) and not self.element.symmetric

    @property
    def zero_point_bits(self) -> int:
        """Bits of a group's zero point: as wide as a code in asymmetric integers, else none."""
        return self.element.bits if self.is_asymmetric else 0

    @property
    def candidates(self) -> int:
        """How many value tables a group or tensor chooses from."""
        return max(1, len(self.special_values)) + len(self.alternatives)

    @property
    def selector_bits(self) -> int:
        """Bits that name a group's table; none where the whole tensor shares one."""
        return (self.candidates - 1).bit_length() if self.selection == "group" else 0

    @cached_property
    def tables(self) -> F32:
        """The value of every code for every selector, ``[selectors, 2^bits]``, float32."""
        if isinstance(self.element, PlainType):
            raise RequestError(f"format {self.name!r} is stored as it is: it has no codes")
        tables = np.repeat(self.element.levels[None, :], max(1, len(self.special_values)), axis=0)
        if self.special_values:
            assert isinstance(self.element, FloatType)
            tables[:, self.element.negative_zero] = self.special_values
        others = [other.levels[None, :] for other in self.alternatives]
        return np.concatenate([tables, *others])

    @property
    def scale_range(self) -> tuple[float, float]:
        """The least and greatest scale, in units of the levels given here."""
        if not self.bounded:
            return 0.0, float("inf")
        assert not isinstance(self.element, PlainType)
        return SCALE_FLOOR / self.element.unit, SCALE_CEILING / self.element.unit


@dataclass(frozen=True, eq=False)
class Steps:
    """Values of cells as a first value and a step at each threshold, ``[candidates, n]``.

    Padded to a multiple of four by thresholds of +Inf, which nothing exceeds, and steps of 0;
    ``first`` is ``[candidates]``.
    """

    thresholds: F32
    steps: F32
    first: F32


@dataclass(frozen=True, eq=False)
class Grid:
    """The candidates of a format, ready to round with: ``[candidates, levels]``.

    A value lies in cell ``sum(value > thresholds)``, whose level and code these arrays hold; the
    last threshold is +Inf. Shorter candidates repeat their last level above more of them.
    ``negative_zero`` is the code that negative weights in the cell of 0 take; 0 where it is spare.
    ``minifloat`` is the element whose bits can be rounded as IEEE does, None where they cannot.
    """

    levels: F32
    codes: np.ndarray
    thresholds: F32
    tops: F32
    is_integer: bool
    negative_zero: int
    minifloat: FloatType | None = None

    @cached_property
    def code_steps(self) -> Steps:
        """The codes of the cells, as steps."""
        differences = np.diff(self.codes.astype(np.float32))
        cells = [
            [(t, s) for t, s in zip(row, steps, strict=True) if np.isfinite(t)]
            for row, steps in zip(self.thresholds[:, :-1], differences, strict=True)
        ]
        return steps_of(cells, self.codes[:, 0])


def steps_of(
    cells: Sequence[Sequence[tuple[float, float]]], first: ArrayLike, least: int = 0
) -> Steps:
    """Return cells ``(threshold, step)`` of each candidate as arrays of at least ``least``."""
    width = -(-max(least, *map(len, cells)) // 4) * 4
    thresholds = np.full((len(cells), width), np.inf, np.float32)
    steps = np.zeros((len(cells), width), np.float32)
    for row, found in enumerate(cells):
        for column, (threshold, step) in enumerate(found):
            thresholds[row, column], steps[row, column] = threshold, step
    return Steps(thresholds, steps, np.asarray(first, np.float32))


@lru_cache(maxsize=512)
def grid_of(format_: Format, rule: str = "") -> Grid:
    """Return the sorted levels of every candidate, their codes, and where one cell ends.

    The most negative two's complement code is left out unless ``rule`` uses the full range.
    """
    parts = [_sorted(table, format_, rule) for table in format_.tables]
    width = max(levels.size for levels, _ in parts)
    rows = [_padded(levels, codes, width, format_.ties) for levels, codes in parts]
    levels, codes, thresholds = (np.stack(column) for column in zip(*rows, strict=True))
    tops = np.array([np.abs(part).max() for part, _ in parts], np.float32)
    if format_.scale_top is not None:
        tops[:] = format_.scale_top
    spare = 1 << (format_.element_bits - 1) if format_.signed_zero else 0
    element, minifloat = format_.element, None
    if isinstance(element, FloatType) and format_.ties == "even":
        minifloat = element if len(parts) == 1 and not format_.unused else None
    return Grid(levels, codes, thresholds, tops, isinstance(element, IntType), spare, minifloat)


def _sorted(table: F32, format_: Format, rule: str) -> tuple[F32, np.ndarray]:
    """Distinct finite levels in rising order and the first code of each; ``+0`` stands for 0."""
    levels, first = np.unique(table, return_index=True)
    keep = np.isfinite(levels) & ~np.isin(first, format_.unused)
    two_complement = isinstance(format_.element, IntType) and format_.element.symmetric
    if two_complement and format_.element_bits > 1 and rule not in {"full-range", "no-clip"}:
        keep[0] = False
    return levels[keep].astype(np.float32), first[keep].astype(np.uint8)


def _padded(levels: F32, codes: np.ndarray, width: int, ties: Ties) -> tuple[F32, np.ndarray, F32]:
    extra = width - levels.size
    middles = ((levels[1:].astype(np.float64) + levels[:-1]) / 2).astype(np.float32)
    upper = codes[1:] % 2 == 0 if ties == "even" else np.full(middles.shape, ties == "upper")
    # x > just below the middle  <=>  x >= middle: the tie goes to the upper level.
    thresholds = np.where(upper, np.nextafter(middles, np.float32(-np.inf)), middles)
    return (
        np.pad(levels, (0, extra), mode="edge"),
        np.pad(codes, (0, extra), mode="edge"),
        np.pad(thresholds, (0, extra + 1), constant_values=np.inf).astype(np.float32),
    )
