"""LLM-Viewer's table of devices, in its own numbers; see ``llm_viewer``."""

from __future__ import annotations

from functools import cache
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

from quant.common.config import load_toml
from quant.common.errors import RequestError, unknown_name

Version = Literal["main", "pr27"]
DEVICES = resources.files("roofline") / "compat" / "llm_viewer_devices.toml"


def device_names(version: Version = "main") -> list[str]:
    """Return the devices of a version's table, by their names there."""
    return sorted(device_tables(version))


@cache
def device_tables(version: str) -> dict[str, dict[str, float]]:
    """Return a version's devices.

    Raises:
        RequestError: an unknown version.
    """
    tables = load_toml(Path(str(DEVICES)))
    if version not in get_args(Version):
        raise unknown_name("version", version, get_args(Version))
    devices: dict[str, dict[str, float]] = tables[version]
    return devices


def find_device(name: str, version: str) -> dict[str, float]:
    """Return a device's numbers.

    Raises:
        RequestError: an unknown name, with the nearest.
    """
    table = device_tables(version)
    if name not in table:
        raise unknown_name("LLM-Viewer device", name, table)
    return table[name]


def peak_of(table: dict[str, float], device: str, widest: int, version: str) -> float:
    """Return one peak for every op: by the widest of weights, activations and cache.

    Raises:
        RequestError: the table has no peak for so few bits (main).
    """
    if version == "pr27":
        kinds = ["INT4"] * (widest <= 4) + ["INT8"] * (widest <= 8) + ["FP16"]
        return next(table[kind] for kind in kinds if kind in table)
    if widest > 8:
        return table["FP16"]
    if "INT8" not in table:
        raise RequestError(f"{device} has no INT8 peak in LLM-Viewer's table: use more than 8 bits")
    return table["INT8"]
