"""A format's levels ready to round with: sorted, with the code of each and where one cell ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import ArrayLike

from quant.formats.elements import F32, FloatType, IntType
from quant.formats.format import Format, Ties
from quant.formats.rules import ScaleRule


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
def grid_of(format_: Format, rule: ScaleRule | None = None) -> Grid:
    """Return the sorted levels of every candidate, their codes, and where one cell ends.

    The most negative two's complement code is left out unless ``rule`` uses the full range.
    """
    full_range = rule is not None and rule.uses_full_range
    parts = [_sorted(table, format_, full_range) for table in format_.tables]
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


def _sorted(table: F32, format_: Format, full_range: bool) -> tuple[F32, np.ndarray]:
    """Distinct finite levels in rising order and the first code of each; ``+0`` stands for 0."""
    levels, first = np.unique(table, return_index=True)
    keep = np.isfinite(levels) & ~np.isin(first, format_.unused)
    two_complement = isinstance(format_.element, IntType) and format_.element.symmetric
    if two_complement and format_.element_bits > 1 and not full_range:
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
