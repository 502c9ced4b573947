"""A number format: levels at powers of two and between, under groups of 32."""

from __future__ import annotations

from quant.formats.elements import Codebook
from quant.formats.format import Format
from quant.formats.registry import register

HALVES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
LADDER = register(
    Format(
        "ladder4",
        Codebook(4, (*HALVES, *(-level for level in HALVES[1:]))),
        "tests/own: 15 levels with two terms at most",
        group_size=32,
    )
)
