"""Macros of SRAM that can be bought or downloaded: a fit through the points of a data sheet.

Area, energies and leakage of a bank are ``a + b bits + c words + d words bits``, of least squared
relative errors; ``macro_error`` says how far that is from the macros themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quant.common.config import load_toml, parse
from quant.common.errors import RequestError

FILE = Path(str(resources.files("hwsim.machines") / "sram_sg13g2.toml"))
F64 = NDArray[np.float64]
CHANGE = "change bytes, port_bits or banks"
QUANTITIES = ("read", "write", "leakage", "area")


@dataclass(frozen=True)
class Macros:
    """Single banks as they are.

    Attributes:
        source: Where their numbers come from.
        node_nm: Their node.
        volts: Their supply.
        columns: Of the table.
        table: A row a macro.
    """

    source: str
    node_nm: float
    volts: float
    columns: list[str]
    table: list[list[float]]


@lru_cache(maxsize=1)
def macros() -> Macros:
    """Return the table."""
    return parse(load_toml(FILE), Macros, FILE.name)


def macro_cost(words: float, bits: float) -> tuple[float, float, float, float]:
    """Return read and write energy (J), leakage (W) and area (um2) of a bank at its own node.

    Raises:
        RequestError: beyond the words or bits of the macros.
    """
    rows = np.array(macros().table)
    widths = np.unique(rows[:, 1])
    if not widths[0] <= bits <= widths[-1]:
        raise RequestError(f"{bits:g} bits: {widths[0]:g} to {widths[-1]:g} of a macro: {CHANGE}")
    beside = widths[[np.searchsorted(widths, bits, "right") - 1, np.searchsorted(widths, bits)]]
    depths = rows[np.isin(rows[:, 1], beside), 0]
    if not depths.min() <= words <= depths.max():
        raise RequestError(
            f"{words:g} words of {bits:g} bits: {depths.min():g} to {depths.max():g} of a macro: "
            f"{CHANGE}"
        )
    read, write, leakage, area = (_terms(words, bits) @ _fit()).ravel().tolist()
    return read, write, leakage, area


def macro_error() -> dict[str, float]:
    """Return the largest relative error of the fit over the macros, by quantity."""
    rows = np.array(macros().table)
    found = _terms(rows[:, 0], rows[:, 1]) @ _fit()
    worst = np.abs(found / rows[:, 2:] - 1).max(axis=0)
    return dict(zip(QUANTITIES, worst.tolist(), strict=True))


@lru_cache(maxsize=1)
def _fit() -> F64:
    """Coefficients of the four quantities, ``[4 terms, 4]``."""
    rows = np.array(macros().table)
    terms = _terms(rows[:, 0], rows[:, 1])
    columns = [
        np.linalg.lstsq(terms / values[:, None], np.ones(len(rows)), rcond=None)[0]
        for values in rows[:, 2:].T
    ]
    return np.array(columns).T


def _terms(words: float | F64, bits: float | F64) -> F64:
    words, bits = np.atleast_1d(np.asarray(words, float)), np.atleast_1d(np.asarray(bits, float))
    return np.stack([np.ones_like(words), bits, words, words * bits], axis=1)
