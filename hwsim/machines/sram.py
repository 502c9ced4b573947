"""Energy, leakage and area of on-chip buffers: from CACTI runs or macros, shipped as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwsim.machines.macros import macro_cost, macros
from hwsim.machines.parts import Buffer
from hwsim.machines.process import MEMORY, factors
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError

FILE = Path(str(resources.files("hwsim.machines") / "sram_28nm.toml"))
F64 = NDArray[np.float64]


@dataclass(frozen=True)
class SramTable:
    """Results of single banks, over capacity x width of the port.

    Attributes:
        source: How they were made.
        error: Largest relative error between the rows, by quantity.
        columns: Of the table.
        table: A row a bank.
    """

    source: str
    error: dict[str, float]
    columns: list[str]
    table: list[list[float]]


@dataclass(frozen=True)
class SramCost:
    """A buffer at ``process.MEMORY``: joules of an access of the port's width, leakage, area."""

    read_j: float
    write_j: float
    leakage_w: float
    area_um2: float


@lru_cache(maxsize=1)
def sram_table() -> SramTable:
    """Return the table."""
    return parse(load_toml(FILE), SramTable, FILE.name)


@lru_cache(maxsize=1)
def _grid() -> tuple[F64, F64, F64]:
    """Logarithms of capacities, of widths, and of the results, ``[capacities, widths, 4]``."""
    rows = np.array(sram_table().table)
    sizes, widths = np.unique(rows[:, 0]), np.unique(rows[:, 1])
    values = np.full((len(sizes), len(widths), 4), np.nan)
    at = np.searchsorted(sizes, rows[:, 0]), np.searchsorted(widths, rows[:, 1])
    values[at] = np.log(rows[:, 2:])
    return np.log(sizes), np.log(widths), values


@lru_cache(maxsize=4096)
def sram_cost(buffer: Buffer) -> SramCost:
    """Return the cost of a buffer: its banks work side by side, each with its part of the port.

    Of CACTI's table logarithms are interpolated linearly between capacities and widths;
    ``sram_table().error`` says how far off that is. Macros of another node are scaled to this one.

    Raises:
        RequestError: banks smaller, larger or wider than any of the table, or too wide for their
            size.
    """
    size, width = buffer.bytes / buffer.banks, buffer.port_bits / buffer.banks
    if buffer.memory == "sg13g2":
        return _of_macros(buffer.banks, size, width)
    sizes, widths, values = _grid()
    low, high = np.exp(sizes[[0, -1]]), np.exp(widths[[0, -1]])
    ranges = f"{low[0]:.0f} to {low[1]:.0f} bytes and {high[0]:.0f} to {high[1]:.0f} bits"
    said = f"{buffer.banks} banks of {size:g} bytes and {width:g} bits each"
    near = 1e-9
    if not (low[0] <= size * (1 + near) and size <= low[1] * (1 + near)):
        raise RequestError(f"{said}: {ranges} of a bank are known: change bytes or banks")
    if not (high[0] <= width * (1 + near) and width <= high[1] * (1 + near)):
        raise RequestError(f"{said}: {ranges} of a bank are known: change port_bits or banks")
    x, y = np.log(size), np.log(width)
    i = int(np.clip(np.searchsorted(sizes, x) - 1, 0, len(sizes) - 2))
    j = int(np.clip(np.searchsorted(widths, y) - 1, 0, len(widths) - 2))
    u = float(np.clip((x - sizes[i]) / (sizes[i + 1] - sizes[i]), 0, 1))
    v = float(np.clip((y - widths[j]) / (widths[j + 1] - widths[j]), 0, 1))
    corners = [(i, j, (1 - u) * (1 - v)), (i + 1, j, u * (1 - v))]
    corners += [(i, j + 1, (1 - u) * v), (i + 1, j + 1, u * v)]
    found = sum(values[a, b] * share for a, b, share in corners if share > 0)
    if np.isnan(found).any():
        raise RequestError(f"{said}: so wide a port has no bank so small: change bytes or banks")
    read, write, leakage, area = (float(number) * buffer.banks for number in np.exp(found))
    return SramCost(read, write, leakage, area)


def _of_macros(banks: int, size: float, width: float) -> SramCost:
    said = f"{banks} banks of {size:g} bytes and {width:g} bits each"
    try:
        read, write, leakage, area = macro_cost(8 * size / width, width)
    except RequestError as error:
        raise RequestError(f"{said}: {error}") from None
    here = factors((macros().node_nm, macros().volts), MEMORY)
    return SramCost(
        read * banks * here.energy,
        write * banks * here.energy,
        leakage * banks * here.leakage,
        area * banks * here.area,
    )
