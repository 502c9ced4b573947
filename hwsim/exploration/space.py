"""A design space: axes of a design and the values to try on each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import load_accelerator
from hwsim.machines.parts import Buffer, PEArray
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError
from quant.common.sourced import Sourced

if TYPE_CHECKING:
    pass


@dataclass(frozen=True)
class DesignSpace:
    """A grid of designs around a base.

    Attributes:
        base: Accelerator name or TOML file.
        rows: Rows of the prefill array; empty: the base's.
        columns: Columns of the prefill array; empty: the base's.
        formats: Weight formats of the block layers; empty: the workload's own.
        bandwidth: DRAM bits per cycle; empty: the base's.
    """

    base: str = "bitmod"
    rows: Sequence[int] = field(default_factory=tuple)
    columns: Sequence[int] = field(default_factory=tuple)
    formats: Sequence[str] = field(default_factory=tuple)
    bandwidth: Sequence[float] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        faults = [
            f"{name} = {value}"
            for name in ("rows", "columns", "bandwidth")
            for value in getattr(self, name)
            if not 0 < value < float("inf")
        ]
        if faults:
            raise RequestError(f"design space: {', '.join(faults)}: above 0 is needed")

    @classmethod
    def load(cls, path: Path) -> DesignSpace:
        """Return the space of a TOML file with the keys of this class."""
        return parse(load_toml(path), cls, str(path))

    def designs(self) -> list[tuple[Accelerator, str | None]]:
        """Return every machine with the format its layers take."""
        base = load_accelerator(self.base)
        formats: list[str | None] = [*self.formats] or [None]
        grid = itertools.product(
            self.rows or [base.prefill.rows],
            self.columns or [base.prefill.columns],
            self.bandwidth or [base.dram.bits_per_cycle.value],
            formats,
        )
        return [(_variant(base, r, c, bits), text) for r, c, bits, text in grid]


def _variant(base: Accelerator, rows: int, columns: int, bits: float) -> Accelerator:
    """The base with another array and memory; decode keeps the PEs, twice the rows.

    Buffer ports grow with the side of the array that they feed.
    """
    decode = PEArray(2 * rows, max(1, columns // 2))
    weight = _port(base.weight_buffer, rows / base.prefill.rows)
    activation = _port(base.activation_buffer, columns / base.prefill.columns)
    source = "design space"
    return replace(
        base,
        prefill=PEArray(rows, columns),
        decode=decode,
        weight_buffer=weight,
        activation_buffer=activation,
        dram=replace(base.dram, bits_per_cycle=Sourced(bits, source)),
    )


def _port(buffer: Buffer, ratio: float) -> Buffer:
    return replace(buffer, port_bits=max(1, round(buffer.port_bits * ratio)))
