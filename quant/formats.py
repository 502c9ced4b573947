"""THE registry of number formats: one literal entry a format, each with its source.

To add a format, add one entry to ``_ENTRIES``; tables, tests, storage accounting, the machine's
terms, the RTL tables and the listings derive from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from quant.common.errors import RequestError, unknown_name
from quant.datatypes import F32, FloatType, IntType, PlainType

SCALE_BITS = {"fp16": 16, "fp32": 32, "int8": 8}
ROW_SCALE_BITS = {"fp16": 0, "fp32": 0, "int8": 16}
DEFAULT_GROUP = 128
DEFAULT_SCALE = "fp16"
# The range of a group scale in units of the format's integer grid (BitMoD's released quantizer).
SCALE_FLOOR, SCALE_CEILING = 1e-5, 1e4


@dataclass(frozen=True)
class Format:
    """A number format of groups of weights: an element type, and what a group adds to it.

    ``special_values`` are the candidates, in search order, for the spare code of −0; each group
    chooses one, which its selector names (BitMoD, arXiv 2411.11745).
    """

    name: str
    element: IntType | FloatType | PlainType
    source: str
    special_values: tuple[float, ...] = ()

    @property
    def element_bits(self) -> int:
        """Bits of one code."""
        return self.element.bits

    @property
    def is_plain(self) -> bool:
        """Whether weights are stored as they are."""
        return isinstance(self.element, PlainType)

    @property
    def zero_point_bits(self) -> int:
        """Bits of a group's zero point: as wide as a code in asymmetric integers, else none."""
        asymmetric = isinstance(self.element, IntType) and not self.element.symmetric
        return self.element.bits if asymmetric else 0

    @property
    def selector_bits(self) -> int:
        """Bits that name a group's special value."""
        return (max(1, len(self.special_values)) - 1).bit_length()

    @cached_property
    def tables(self) -> F32:
        """The value of every code for every selector, ``[selectors, 2^bits]``, float32."""
        if isinstance(self.element, PlainType):
            raise RequestError(f"format {self.name!r} is stored as it is: it has no codes")
        table = self.element.levels
        if not self.special_values:
            return table[None, :].copy()
        assert isinstance(self.element, FloatType)
        tables = np.repeat(table[None, :], len(self.special_values), axis=0)
        tables[:, self.element.negative_zero] = self.special_values
        return tables

    @property
    def scale_range(self) -> tuple[float, float]:
        """The least and greatest scale, in units of the levels given here."""
        assert not isinstance(self.element, PlainType)
        return SCALE_FLOOR / self.element.unit, SCALE_CEILING / self.element.unit


_BITMOD = "BitMoD (HPCA 2025, arXiv 2411.11745), released quantizer: order ER+, ER-, EA+, EA-"
_INT = "BitMoD released quantizer: absmax/(2^(b-1)-1), half to even"
_INT_ASYM = "BitMoD released quantizer: (max-min)/(2^b-1), integer zero point clamped to the codes"
_ENTRIES = (
    *(Format(f"int{bits}", IntType(bits), _INT) for bits in range(2, 9)),
    *(Format(f"int{bits}-asym", IntType(bits, symmetric=False), _INT_ASYM) for bits in range(2, 9)),
    Format("fp3", FloatType(2, 0), "BitMoD basic FP3: 0, 1, 2, 4"),
    Format("fp4", FloatType(2, 1), "OCP Microscaling Formats v1.0, table 5: FP4 E2M1"),
    Format("bitmod3", FloatType(2, 0), _BITMOD, (3.0, -3.0, 6.0, -6.0)),
    Format("bitmod4", FloatType(2, 1), _BITMOD, (5.0, -5.0, 8.0, -8.0)),
    Format("fp32", PlainType(32), "IEEE 754-2019 binary32"),
    Format("fp16", PlainType(16), "IEEE 754-2019 binary16"),
    Format("bf16", PlainType(16), "bfloat16: the upper half of binary32"),
)
FORMATS: dict[str, Format] = {entry.name: entry for entry in _ENTRIES}


def get_format(name: str) -> Format:
    """Return the format of that name.

    Raises:
        RequestError: no such format; the message gives the nearest names.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS)
    return FORMATS[name]


@dataclass(frozen=True)
class FormatSpec:
    """A format with its group size and scale: ``NAME[:gGROUP][:SCALE]``."""

    format: Format
    group_size: int = DEFAULT_GROUP
    scale: str = DEFAULT_SCALE

    def __post_init__(self) -> None:
        if self.group_size < 1:
            raise RequestError(f"group size {self.group_size} is not allowed: at least 1")
        if self.scale not in SCALE_BITS:
            raise unknown_name("scale", self.scale, SCALE_BITS)

    def __str__(self) -> str:
        if self.format.is_plain:
            return self.format.name
        return f"{self.format.name}:g{self.group_size}:{self.scale}"

    def groups(self, columns: int) -> int:
        """Return how many groups a row of ``columns`` weights has; the last may be shorter."""
        return -(-columns // self.group_size)

    def storage_bits(self, rows: int, columns: int) -> int:
        """Return all the bits that a ``[rows, columns]`` weight takes.

        Codes (each row padded to whole bytes), scales, row scales, selectors and zero points.
        """
        entry = self.format
        if entry.is_plain:
            return rows * columns * entry.element_bits
        codes = -(-columns * entry.element_bits // 8) * 8
        per_group = SCALE_BITS[self.scale] + entry.selector_bits + entry.zero_point_bits
        return rows * (codes + self.groups(columns) * per_group + ROW_SCALE_BITS[self.scale])

    def effective_bits(self, rows: int, columns: int) -> float:
        """Return the stored bits per weight of a ``[rows, columns]`` weight."""
        return self.storage_bits(rows, columns) / max(1, rows * columns)


@lru_cache(maxsize=4096)
def parse_spec(
    text: str, default_group: int = DEFAULT_GROUP, default_scale: str = DEFAULT_SCALE
) -> FormatSpec:
    """Return the specification that a string such as ``"bitmod3:g128:int8"`` means.

    Raises:
        RequestError: an unknown format or scale, or a group size that is not a positive integer.
    """
    name, *parts = text.strip().lower().split(":")
    entry, group, scale = get_format(name), default_group, default_scale
    for part in parts:
        if re.fullmatch(r"g\d+", part):
            group = int(part[1:])
        elif part in SCALE_BITS:
            scale = part
        else:
            allowed = f"gN (a group size) or a scale ({', '.join(SCALE_BITS)})"
            raise RequestError(f"format {text!r}: {part!r} is not allowed; use {allowed}")
    return FormatSpec(entry, group, scale)
