"""Roles: the same module of all layers, its work, bytes and time summed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from roofline.bounds.analysis import BOUNDS, Analysis

if TYPE_CHECKING:
    import pandas as pd


def by_role(analysis: Analysis) -> pd.DataFrame:
    """Return one row a role (the same module of all layers): summed work, bytes and time."""
    frame = analysis.to_frame()
    frame["role"] = [role_of(str(name)) for name in frame["name"]]
    for key in ("ops", "bytes", "time_s"):
        frame[key] = frame[key] * frame["count"]
    grouped = frame.groupby("role", sort=False)
    out = grouped.agg(
        op=("op", "first"),
        count=("count", "sum"),
        ops=("ops", "sum"),
        bytes=("bytes", "sum"),
        bound=("bound", lambda bounds: "/".join(b for b in BOUNDS if b in set(bounds))),
        time_s=("time_s", "sum"),
    )
    out["intensity"] = out["ops"] / out["bytes"].where(out["bytes"] > 0)
    out["share"] = out["time_s"] / (analysis.time_s or 1.0)
    return out.reset_index()


def role_of(name: str) -> str:
    """Return a module path with ``*`` for the layer's index."""
    return re.sub(r"\.\d+(?=\.)", ".*", name)
