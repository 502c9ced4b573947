"""The parts of an accelerator beside its elements: array, buffers, memory interface."""

from __future__ import annotations

from dataclasses import dataclass

from quant.common.sourced import Sourced


@dataclass(frozen=True)
class PEArray:
    """Rows are output channels, columns are tokens (output stationary)."""

    rows: int
    columns: int

    @property
    def pes(self) -> int:
        """Processing elements."""
        return self.rows * self.columns


@dataclass(frozen=True)
class Buffer:
    """An on-chip buffer, double buffered: loading hides behind computing."""

    bytes: int
    port_bits: int


@dataclass(frozen=True)
class Dram:
    """The memory interface; energy is per bit moved."""

    bits_per_cycle: Sourced
    joule_per_bit: Sourced
