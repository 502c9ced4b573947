"""Functional coverage of the tile: format x length of a group x corner, in Python."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product, starmap
from typing import NamedTuple

import numpy as np

from hwsim.pe.operands import pe_scales
from hwsim.tile.packets import Packet
from hwsim.tile.side_band import rtl_formats
from quant.formats.scales import SCALES
from tests.rtl.tile_cases import Case


class Bin(NamedTuple):
    """Where a group was."""

    format: str
    blocks: int
    corner: str


BLOCKS, LONGEST = (1, 2, 3, 4), 16
CORNERS = ("plain", "fp16", "nonfinite", "zeros", "one group", "several groups", "negative zero")
"""What any format can meet: any case, FP16 results, Inf or NaN among the activations, a block
whose activations are all zero, jobs of one group and of several, -0 among the activations."""


def corners(case: Case, packet: Packet, alone: bool) -> set[str]:
    """Return the corners of one group."""
    form = case.tile.arithmetic.activations
    parts = form.fields(packet.words)
    negative_zero = (parts.mantissa == 0) & parts.finite & (parts.sign == 1)
    found = {
        "plain": True,
        "fp16": packet.user.fp16,
        "nonfinite": not parts.finite.all(),
        "zeros": bool((parts.mantissa == 0).all(axis=(1, 2)).any()),
        "one group": alone,
        "several groups": not alone,
        "negative zero": bool(negative_zero.any()),
    }
    return {name for name, there in found.items() if there}


def bins(case: Case) -> set[Bin]:
    """Return the bins of all groups of a case."""
    found: set[Bin] = set()
    names = {number: name for name, number in rtl_formats().items()}
    kinds = {kind.id: kind.name for kind in SCALES.values()}
    first = True
    for packet in case.packets:
        alone = first and packet.final
        first = packet.final
        name = names[packet.user.format]
        corner_names = corners(case, packet, alone) | {kinds[packet.user.kind]}
        found |= {Bin(name, len(packet.words), corner) for corner in corner_names}
    return found


def coverpoints(seen: Iterable[Bin], formats: Iterable[str]) -> dict[str, tuple[int, int]]:
    """Return how many bins of each coverpoint were met, and how many there are."""
    wanted = set(starmap(Bin, product(formats, BLOCKS, CORNERS)))
    every = set(seen)
    met = every & wanted
    points = {
        "format": (0,),
        "length": (1,),
        "corner": (2,),
        "format x length": (0, 1),
        "format x corner": (0, 2),
        "length x corner": (1, 2),
        "format x length x corner": (0, 1, 2),
    }
    found = {}
    for name, parts in points.items():
        sizes = [len({tuple(b[i] for i in parts) for b in some}) for some in (met, wanted)]
        found[name] = (sizes[0], sizes[1])
    scales = {corner for _, _, corner in every if corner in pe_scales()}
    found["scale"] = (len(scales), len(pe_scales()))
    return found


def average(points: dict[str, tuple[int, int]]) -> float:
    """Return the mean percentage of the coverpoints."""
    return float(np.mean([100 * met / size for met, size in points.values()]))
