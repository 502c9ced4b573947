"""Nodes and supplies: what another node or another voltage does to area, energy and speed."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from quant.common.config import load_toml, parse
from quant.common.errors import RequestError
from quant.common.sourced import Sourced

FILE = Path(str(resources.files("hwsim.machines") / "nodes.toml"))
LEAST_VOLTS = 0.5
"""No fit is used below, wherever its energy still falls with the supply."""
MOST_CLOCK_HZ = 1e11
ABOVE_THRESHOLD = 0.1
"""Volts that a supply must have above the threshold: the alpha-power law is of strong inversion."""
MEMORY = (28.0, 0.9)
"""Node (nm) and supply (V) of the buffers' numbers, ITRS's of a high-performance process."""


@dataclass(frozen=True)
class Process:
    """The node and the supply of a chip's core, and those that its numbers are stated for.

    Attributes:
        node_nm: The chip's node, nm.
        volts: Its supply, V.
        stated_nm: The node of the numbers of elements and vector unit.
        stated_volts: The supply that they are stated at.
        stated_clock_hz: The fastest clock there.
        threshold_v: Of the transistors, in the alpha-power law of speed.
        alpha: Of that law.
    """

    node_nm: Sourced
    volts: Sourced
    stated_nm: Sourced
    stated_volts: Sourced
    stated_clock_hz: Sourced
    threshold_v: Sourced
    alpha: Sourced

    @property
    def most_clock_hz(self) -> float:
        """The fastest clock at its supply: ``(V - Vt)^alpha / V`` of the stated one.

        A smaller node makes nothing faster here: published fits of delay do not agree on how much.
        """
        stated = self._speed(self.stated_volts.value)
        return self.stated_clock_hz.value * self._speed(self.volts.value) / stated

    def _speed(self, volts: float) -> float:
        return float(max(0.0, volts - self.threshold_v.value) ** self.alpha.value / volts)

    def faults(self) -> list[str]:
        """Return numbers beyond the published fits, or a supply that is too near the threshold."""
        ranges = {
            "stated_clock_hz": (1.0, MOST_CLOCK_HZ),
            "threshold_v": (0.05, 1.0),
            "alpha": (1.0, 2.0),
        }
        faults = [
            f"process.{key} = {value:g}: {low:g} to {high:g} is allowed"
            for key, (low, high) in ranges.items()
            if not low <= (value := getattr(self, key).value) <= high
        ]
        least = self.threshold_v.value + ABOVE_THRESHOLD
        for nm, volts in (("stated_nm", "stated_volts"), ("node_nm", "volts")):
            try:
                _of(getattr(self, nm).value, getattr(self, volts).value)
            except RequestError as error:
                faults.append(f"process.{nm}, process.{volts}: {error}")
            else:
                if not faults and getattr(self, volts).value < least:
                    value = getattr(self, volts).value
                    faults.append(f"process.{volts} = {value:g}: {least:.3g} V is the least")
        return faults


@dataclass(frozen=True)
class Nodes:
    """The file of nodes: a row a node."""

    source: str
    columns: list[str]
    table: list[list[float]]


class Factors(NamedTuple):
    """What a part's numbers are multiplied by.

    Attributes:
        area: Area.
        energy: Energy of an event.
        leakage: Power when idle: as area, and in proportion to the supply (a guess).
    """

    area: float
    energy: float
    leakage: float


def scaled_said(process: Process | None) -> str:
    """Return in a line what a chip's node and supply do to its numbers; empty: nothing."""
    if process is None:
        return ""
    core, memory = core_factors(process), memory_factors(process)
    if core == memory == SAME:
        return ""
    parts = [
        f"{name}: area x {one.area:.4g}, energy x {one.energy:.4g}, leakage x {one.leakage:.4g}"
        for name, one in (("elements and vector unit", core), ("buffers", memory))
    ]
    return (
        f"{process.node_nm.value:g} nm, {process.volts.value:g} V: {'; '.join(parts)} (published "
        "fits; leakage with area and supply is a guess)"
    )


SAME = Factors(1.0, 1.0, 1.0)


def nodes_source() -> str:
    """Return where the factors between nodes and supplies come from."""
    return _nodes().source


@lru_cache(maxsize=1)
def _nodes() -> Nodes:
    return parse(load_toml(FILE), Nodes, FILE.name)


@lru_cache(maxsize=1)
def node_table() -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Return the rows of the nodes, smallest first: nm, area, b2, b1, b0, most volts."""
    rows = np.array(_nodes().table)
    return rows[np.argsort(rows[:, 0])]


def range_of(node_nm: float) -> tuple[float, float]:
    """Return the supplies, V, that both fits beside a node hold for."""
    rows = node_table()
    beside = rows[_beside(node_nm)]
    with np.errstate(divide="ignore", invalid="ignore"):
        turns = np.where(beside[:, 2] > 0, -beside[:, 3] / (2 * beside[:, 2]), 0.0)
        # The oldest node's fit is a line, and above 0 only beyond where it crosses it.
        zero = np.where(beside[:, 2] > 0, 0.0, -beside[:, 4] / beside[:, 3])
    return max(LEAST_VOLTS, float(turns.max()), float(zero.max()) * 1.1), float(beside[:, 5].min())


def _beside(node_nm: float) -> list[int]:
    """The rows of the nodes on both sides; of one that is in the table, its own alone."""
    sizes = node_table()[:, 0]
    found = int(np.searchsorted(sizes, node_nm))
    return [found] if sizes[found] == node_nm else [found - 1, found]


@lru_cache(maxsize=4096)
def factors(from_: tuple[float, float], to: tuple[float, float]) -> Factors:
    """Return what numbers of one node and supply are multiplied by at another.

    Ratios of the published fits; between two nodes their logarithms are interpolated over that of
    the size.

    Args:
        from_: Node (nm) and supply (V) of the numbers.
        to: Those asked for.

    Raises:
        RequestError: a node or supply beyond the fits.

    Example:
        >>> round(factors((65, 1.3), (32, 0.9)).energy, 3)  # the authors' own example
        0.176
    """
    if from_ == to:
        return SAME
    (area, energy), (area_to, energy_to) = _of(*from_), _of(*to)
    leakage = area_to / area * to[1] / from_[1]
    return Factors(area_to / area, energy_to / energy, leakage)


def _of(node_nm: float, volts: float) -> tuple[float, float]:
    """Relative area and energy of a node at a supply."""
    rows = node_table()
    if not rows[0, 0] <= node_nm <= rows[-1, 0]:
        raise RequestError(f"{node_nm:g} nm: {rows[0, 0]:g} to {rows[-1, 0]:g} nm is allowed")
    low, high = range_of(node_nm)
    if not low <= volts <= high:
        raise RequestError(f"{volts:g} V at {node_nm:g} nm: {low:.3g} to {high:.3g} V is allowed")
    beside = rows[_beside(node_nm)]
    energy = beside[:, 2] * volts**2 + beside[:, 3] * volts + beside[:, 4]
    sizes = np.log(beside[:, 0])
    found = [np.exp(np.interp(np.log(node_nm), sizes, np.log(v))) for v in (beside[:, 1], energy)]
    return float(found[0]), float(found[1])


def core_factors(process: Process | None) -> Factors:
    """Return the factors of elements and vector unit; None: their numbers as they are stated."""
    if process is None:
        return SAME
    stated = process.stated_nm.value, process.stated_volts.value
    return factors(stated, (process.node_nm.value, process.volts.value))


def memory_factors(process: Process | None) -> Factors:
    """Return the factors of buffers, whose supply is the core's: of their 28 nm; None: as there."""
    if process is None:
        return SAME
    return factors(MEMORY, (process.node_nm.value, process.volts.value))
