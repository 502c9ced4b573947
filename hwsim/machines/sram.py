"""Energy and area of on-chip buffers, from a table of CACTI runs shipped as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from quant.common.config import load_toml, parse

FILE = Path(str(resources.files("hwsim.machines") / "sram_28nm.toml"))


@dataclass(frozen=True)
class SramTable:
    """CACTI results by port width, for one capacity."""

    source: str
    bytes: int
    columns: list[str]
    table: list[list[float]]


@dataclass(frozen=True)
class SramCost:
    """Joules of one access of the port's width, and area."""

    read_j: float
    write_j: float
    area_um2: float


@lru_cache(maxsize=256)
def sram_cost(capacity_bytes: int, port_bits: int) -> SramCost:
    """Return the cost of a buffer.

    Linear between the table's port widths; a wider port is several of the widest, a narrower one
    costs like the narrowest. Area and access energy scale with capacity and with its square root
    (word and bit lines), a rule of thumb that only matters off the table's 512 KiB.
    """
    data = parse(load_toml(FILE), SramTable, FILE.name)
    rows = np.array(data.table)
    ports = max(1.0, port_bits / rows[-1, 0])
    width = float(np.clip(port_bits / ports, rows[0, 0], rows[-1, 0]))
    read, write, area = (float(np.interp(width, rows[:, 0], rows[:, i])) for i in (1, 2, 3))
    ratio = capacity_bytes / data.bytes
    energy = ports * ratio**0.5 * 1e-12
    return SramCost(read * energy, write * energy, area * ratio * 1e6)
