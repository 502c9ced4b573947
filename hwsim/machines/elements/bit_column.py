"""Elements that take one bit of each of their weights a clock, and pass over some bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hwsim.machines.elements.base import ProcessingElement, register
from hwsim.machines.elements.skipping import Skipping
from quant.common.errors import RequestError
from quant.formats.elements import IntType
from quant.formats.scale_kind import ScaleKind
from quant.formats.spec import FormatSpec

Columns: TypeAlias = Literal["all", "nonzero", "own-sign", "ones"]
COLUMNS: tuple[Columns, ...] = ("all", "nonzero", "own-sign", "ones")
MOST_REDUNDANT = 3
"""Columns that two bits of a group's metadata can say repeat the sign (BitVert)."""


@register
@dataclass(frozen=True)
class BitColumn(ProcessingElement):
    """A bit-serial dot product of integers: a column of its weights' bits a clock.

    ``all``: every column (Stripes, MICRO 2016). ``nonzero``: in sign and magnitude, columns without
    a one take no clock, nor does the sign's (BitWave, HPCA 2024). ``own-sign``: in two's
    complement, up to three columns that repeat every weight's sign take none; fewer multipliers
    than weights suffice, since zeros or ones are the fewer half of a column (BitVert, MICRO 2024,
    without its pruning: pruned columns are a narrower format here). ``ones``: each lane goes
    through the ones of its own magnitude and waits for the slowest (Pragmatic, MICRO 2017). Rows of
    an array wait for the slowest of them.

    Attributes:
        columns: Which columns take a clock.
        index_bits: Bits stored beside a block that say which columns it has; 0: codes are stored
            whole.
    """

    kind: ClassVar[str] = "bit-column"
    columns: Columns = "all"
    index_bits: int = 0

    @property
    def scales(self) -> tuple[ScaleKind, ...] | None:
        """None: sums of a group are scaled after the array."""
        return None

    def steps(self, spec: FormatSpec) -> int:
        """Return the bits of a weight.

        Raises:
            RequestError: no symmetric integers.
        """
        element = spec.format.element
        if not isinstance(element, IntType) or not element.symmetric:
            raise RequestError(f"{spec}: a bit-column element takes symmetric integers")
        return element.bits

    def skipping(self, spec: FormatSpec) -> Skipping | None:
        """Return the columns of each code that take a clock."""
        bits = self.steps(spec)
        if self.columns == "all":
            return None
        values = spec.format.tables.astype(np.int64)
        signed = self.columns == "own-sign"
        needs = _upto_sign(values, bits) if signed else np.abs(values).astype(np.uint64)
        # The sign of every weight is stored beside the columns of magnitudes.
        beside = self.index_bits + (0 if signed else self.lanes)
        return Skipping(
            needs,
            lanes="alone" if self.columns == "ones" else "together",
            rows="alone",
            index_bits=beside if self.index_bits else None,
        )

    def relative_size(self, lanes: int) -> float:
        """Return the lanes; BitVert's selectors grow faster beyond groups of 8."""
        return float(lanes)

    def faults(self, activations: FormatSpec, group_size: int) -> list[str]:
        """Return the numbers that are out of range, and columns that are none."""
        faults = super().faults(activations, group_size)
        if self.columns not in COLUMNS:
            faults.append(f"pe.columns = {self.columns!r}: {', '.join(COLUMNS)} is allowed")
        most = 64 if self.columns in ("nonzero", "own-sign") else 0
        if not 0 <= self.index_bits <= most:
            faults.append(
                f"pe.index_bits = {self.index_bits}: 0 to {most} is allowed ({self.columns})"
            )
        return faults


def _upto_sign(values: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """The columns from the lowest to a two's complement number's sign, the sign's once."""
    magnitudes = np.where(values < 0, ~values, values)
    widths = np.array([int(v).bit_length() + 1 for v in magnitudes.ravel()]).reshape(values.shape)
    widths = np.maximum(widths, bits - MOST_REDUNDANT)
    needs: NDArray[np.uint64] = (np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1)
    return needs
