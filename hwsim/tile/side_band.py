"""The side band of the weight stream, and the numbers of formats and scale kinds in it.

A number is data of the format (``Format.id``) or of the scale kind (``ScaleKind.id``), never a
position: what joins a registry, wherever its entry stands, renumbers nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

from hwsim.pe.terms import term_table
from quant.common.errors import RequestError
from quant.formats.registry import FORMATS, get_format
from quant.formats.scale_kind import ScaleKind

FORMAT_BITS = 6
"""Width of a format's number (``FormatWidth`` of the RTL)."""
KIND_BITS = 2
"""Width of a scale kind's number."""
SIDE_BITS = FORMAT_BITS + KIND_BITS + 2
"""Width of the side band."""


class SideBand(NamedTuple):
    """What the first beat of a group says beside its data: ``{final, fp16, kind, format}``.

    Attributes:
        format: Number of the format.
        kind: Number of the scale kind.
        fp16: Whether results are rounded to FP16, not FP32.
        final: Whether results leave after this group.
    """

    format: int
    kind: int = 0
    fp16: bool = False
    final: bool = True

    @property
    def word(self) -> int:
        """The bits, the format's lowest."""
        flags = int(self.fp16) | int(self.final) << 1
        return self.format | self.kind << FORMAT_BITS | flags << (FORMAT_BITS + KIND_BITS)

    @classmethod
    def of(cls, word: int) -> SideBand:
        """Return what a word says."""
        kind, flags = word >> FORMAT_BITS, word >> (FORMAT_BITS + KIND_BITS)
        numbers = word & (1 << FORMAT_BITS) - 1, kind & (1 << KIND_BITS) - 1
        return cls(*numbers, bool(flags & 1), bool(flags >> 1 & 1))


def rtl_formats(exponent_bits: int | None = None) -> dict[str, int]:
    """Return the formats that the Verilog has, with their numbers, in the numbers' order.

    They are those of the registry that have a number and, with term exponents of that width (None:
    any), terms. A number that none of them has decodes to no terms.

    Raises:
        RequestError: two formats of one number, or a number that is too large.
    """
    names = [name for name, entry in FORMATS.items() if entry.id is not None]
    numbers = {name: format_id(name) for name in names}
    owners: dict[int, str] = {}
    for name, number in numbers.items():
        if owners.setdefault(number, name) != name:
            raise RequestError(f"formats {owners[number]!r} and {name!r} both have id {number}")
    ordered = sorted(numbers, key=numbers.__getitem__)
    return {name: numbers[name] for name in ordered if _has_terms(name, exponent_bits)}


def format_id(name: str) -> int:
    """Return the number of a format in the packets.

    Raises:
        RequestError: no such format, or it has no number there, or one that does not fit.
    """
    return _number("format", name, get_format(name).id, FORMAT_BITS)


def scale_id(kind: ScaleKind) -> int:
    """Return the number of a scale kind in the packets.

    Raises:
        RequestError: it has no number there, or one that does not fit.
    """
    return _number("scale", kind.name, kind.id, KIND_BITS)


def _has_terms(name: str, exponent_bits: int | None) -> bool:
    try:
        term_table(name, exponent_bits)
    except RequestError:
        return False
    return True


def _number(what: str, name: str, number: int | None, bits: int) -> int:
    if number is None:
        raise RequestError(
            f"{what} {name!r} has no number in the packets of the Verilog: an id in "
            f"0..{(1 << bits) - 1} that no other {what} has is needed"
        )
    if not 0 <= number < 1 << bits:
        raise RequestError(f"{what} {name!r} has id {number}: 0..{(1 << bits) - 1} is allowed")
    return number
