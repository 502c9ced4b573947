"""What ``quant list`` and ``quant show`` say of formats, derived from the registry."""

from __future__ import annotations

from typing import Any

import numpy as np

from quant.common.errors import RequestError
from quant.formats.format import Format
from quant.formats.layout import ROW
from quant.formats.registry import FORMATS
from quant.formats.spec import parse_spec

LINE_WIDTH = 72


def format_rows() -> list[dict[str, Any]]:
    """Return one row a format: its bits, group, scale, rules and source."""
    rows = []
    for entry in FORMATS.values():
        spec = parse_spec(entry.name)
        plain = entry.is_plain
        row = {
            "name": entry.name,
            "element_bits": entry.element_bits,
            "effective_bits": round(spec.effective_bits(4096, 4096), 3),
            "group": "" if plain else "row" if spec.group_size >= ROW else str(spec.group_size),
            "scale": "" if plain else spec.scale.name,
            "rules": "" if plain else ", ".join(rule.name for rule in entry.rules),
            "special_values": ", ".join(f"{value:g}" for value in entry.special_values),
            "source": entry.source,
        }
        rows.append(row)
    return rows


def code_rows(entry: Format) -> list[dict[str, Any]]:
    """Return one row a code: its value in each of the format's tables.

    Raises:
        RequestError: a format without codes.
    """
    tables = entry.tables
    names = [f"special {value:g}" for value in entry.special_values] or ["value"]
    names += [f"table {len(names) + i}" for i in range(len(entry.alternatives))]
    return [
        {"code": format(code, f"0{entry.element_bits}b")}
        | {name: _number(table[code]) for name, table in zip(names, tables, strict=True)}
        for code in range(tables.shape[1])
    ]


def number_line(entry: Format) -> str:
    """Return the levels of a format's first table as marks on a line, with its ends named."""
    levels = entry.tables[0]
    levels = levels[np.isfinite(levels)]
    low, high = float(levels.min()), float(levels.max())
    if low == high:
        raise RequestError(f"format {entry.name!r} has a single level")
    places = np.rint((levels - low) / (high - low) * (LINE_WIDTH - 1)).astype(int)
    marks = ["·"] * LINE_WIDTH
    for place in places:
        marks[place] = "|"
    zero = round(-low / (high - low) * (LINE_WIDTH - 1))
    under = [" "] * LINE_WIDTH
    if 0 <= zero < LINE_WIDTH:
        under[zero] = "0"
    return f"{''.join(marks)}\n{''.join(under)}\n{low:g}{high:>{LINE_WIDTH - len(f'{low:g}')}g}"


def _number(value: np.float32) -> float | None:
    """A JSON number; None for NaN, Inf and codes without use."""
    return float(value) if np.isfinite(value) else None
