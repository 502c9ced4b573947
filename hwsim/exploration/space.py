"""A design space: axes of a design and the values to try on each."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import load_accelerator
from hwsim.machines.parts import Buffer
from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.sizes import need_count
from quant.common.sourced import Sourced
from quant.formats.spec import FormatSpec

T = TypeVar("T")
MOST_DESIGNS = 1_000_000
"""Points of a grid: each is simulated, in some milliseconds."""
MOST_SIDE = 1 << 20
"""Rows or columns of an array."""
SOURCE = "design space"
"""Where the numbers of an axis come from."""


@dataclass(frozen=True)
class DesignSpace:
    """A grid of designs around a base; what no axis names stays as the base has it.

    Attributes:
        base: Accelerator: a name or a TOML file.
        rows: Rows of the prefill array; empty: the base's. The decode array's rows, and the port
            of the weight buffer that feeds them, change in the same ratio.
        columns: Columns of the prefill array; empty: the base's. The decode array's columns, and
            the port of the activation buffer that feeds them, change in the same ratio.
        formats: Weight formats of the block layers; empty: the workload's own.
        bandwidth: DRAM bits per cycle; empty: the base's.
    """

    base: str | Path = "bitmod"
    rows: Sequence[int] = field(default_factory=tuple)
    columns: Sequence[int] = field(default_factory=tuple)
    formats: Sequence[str] = field(default_factory=tuple)
    bandwidth: Sequence[float] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        if not isinstance(self.base, str | os.PathLike):
            raise arguments.wrong_type("base", self.base, "a name or a TOML file")
        axes = {"rows": _side, "columns": _side, "formats": _format, "bandwidth": _bits}
        arguments.check_fields(self, {name: _several(check) for name, check in axes.items()})

    @classmethod
    def load(cls, path: str | Path) -> DesignSpace:
        """Return the space of a TOML file with the keys of this class."""
        path = arguments.path("path", path)
        return parse(load_toml(path), cls, str(path))

    def designs(self) -> list[tuple[Accelerator, str | None]]:
        """Return every machine with the format its layers take; None: the workload's own.

        Raises:
            RequestError: more than a million.
        """
        axes = (self.rows, self.columns, self.bandwidth, self.formats)
        count = math.prod(max(1, len(axis)) for axis in axes)
        need_count(count, MOST_DESIGNS, "designs", "give the axes fewer values")
        base = load_accelerator(self.base)
        return [
            (_with_bandwidth(_with_columns(_with_rows(base, rows), columns), bits), text)
            for rows, columns, bits, text in itertools.product(
                _axis(self.rows),
                _axis(self.columns),
                _axis(self.bandwidth),
                _axis(self.formats),
            )
        ]


def _several(check: Callable[[str, object], T]) -> Callable[[str, object], tuple[T, ...]]:
    return lambda name, values: arguments.several(name, values, check)


def _side(name: str, value: object) -> int:
    return arguments.integer(name, value, 1, MOST_SIDE)


def _bits(name: str, value: object) -> float:
    return arguments.number(name, value, above=0)


def _format(name: str, value: object) -> str:
    return str(value) if isinstance(value, FormatSpec) else arguments.text(name, value)


def _axis(values: Sequence[T]) -> Sequence[T | None]:
    """The points of an axis; None, the base's, where none is given."""
    return values or [None]


def _with_rows(base: Accelerator, rows: int | None) -> Accelerator:
    """The base with other rows in both phases, and a port that feeds them."""
    if rows is None:
        return base
    was = base.prefill.rows
    return replace(
        base,
        prefill=replace(base.prefill, rows=rows),
        decode=replace(base.decode, rows=_scaled(base.decode.rows, rows, was)),
        weight_buffer=_port(base.weight_buffer, rows / was),
    )


def _with_columns(base: Accelerator, columns: int | None) -> Accelerator:
    """The base with other columns in both phases, and a port that feeds them."""
    if columns is None:
        return base
    was = base.prefill.columns
    return replace(
        base,
        prefill=replace(base.prefill, columns=columns),
        decode=replace(base.decode, columns=_scaled(base.decode.columns, columns, was)),
        activation_buffer=_port(base.activation_buffer, columns / was),
    )


def _with_bandwidth(base: Accelerator, bits: float | None) -> Accelerator:
    if bits is None:
        return base
    return replace(base, dram=replace(base.dram, bits_per_cycle=Sourced(bits, SOURCE)))


def _scaled(side: int, new: int, was: int) -> int:
    """A side of the decode array in the ratio of the prefill array's; whole, and at least 1."""
    return max(1, side * new // was)


def _port(buffer: Buffer, ratio: float) -> Buffer:
    return replace(buffer, port_bits=max(1, round(buffer.port_bits * ratio)))
