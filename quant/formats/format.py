"""What a number format is: an element type, and what a group of weights adds to it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from quant.common.errors import RequestError
from quant.formats.elements import F32, Codebook, Element, FloatType, IntType, PlainType
from quant.formats.layout import GRID, Layout
from quant.formats.rules import ABSMAX, ScaleRule
from quant.formats.scale_kind import ScaleKind

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
        rules: Ways to find the scale, the first by default.
        ties: Which of two equally near levels is taken: the lower, the upper, the even code.
        signed_zero: Whether a negative weight that rounds to zero takes the code of −0 (OCP MX,
            torchao, ml_dtypes).
        unused: Codes that are never produced.
        scale_top: The level that the largest weight is scaled to; None: the candidate's largest.
        layout: Which arrays hold the weights; a grid: level times scale.
        id: The format's number in the packets of the Verilog, which never changes: a new format
            takes a new one; None: the Verilog has it not.
    """

    name: str
    element: Element
    source: str
    special_values: tuple[float, ...] = ()
    alternatives: tuple[Codebook, ...] = ()
    selection: Literal["group", "tensor"] = "group"
    group_size: int | None = None
    scale: ScaleKind | None = None
    rules: tuple[ScaleRule, ...] = (ABSMAX,)
    ties: Ties = "lower"
    signed_zero: bool = False
    unused: tuple[int, ...] = ()
    scale_top: float | None = None
    layout: Layout = GRID
    id: int | None = None

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
    def selects_per_tensor(self) -> bool:
        """Whether the tensor makes one choice among the candidates for all groups."""
        return self.candidates > 1 and self.selection == "tensor"

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
