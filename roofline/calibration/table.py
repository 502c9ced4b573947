"""The table of measured kernels: ours or a user's, with every number checked where it is read."""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from quant.common.errors import RequestError
from roofline.workloads.ops.kernels import DECODE, GEMM, PREFILL, RINGS, STREAMS

if TYPE_CHECKING:
    import pandas as pd

MEASURED = resources.files("roofline.calibration") / "kernels.csv"
COLUMNS: tuple[str, ...] = (
    "device",
    "source",
    "kernel",
    "dtype",
    "m",
    "n",
    "k",
    "heads",
    "kv_heads",
    "head_dim",
)
COLUMNS += ("batch", "context", "ranks", "bytes", "seconds")
BYTES = {
    "fp16": (2.0, 2.0),
    "bf16": (2.0, 2.0),
    "fp8": (1.0, 1.0),
    "fp8_block": (1.0, 1.0),
    "nvfp4": (0.5625, 0.5625),
    "w4": (0.5, 2.0),
    "w8": (1.0, 2.0),
}
"""Data type of a measured product to bytes of a weight and of an activation; outputs take 2."""
SECONDS = (1e-12, 1e9)
MOST = 1e15
"""Of a length or of bytes: products of three of them are numbers still."""


def read_kernels(path: Path | None = None) -> pd.DataFrame:
    """Return the table of measured kernels, or a user's own of the same columns.

    Raises:
        RequestError: the file cannot be read, lacks columns, or a line has more values than there
            are columns, lacks what its kernel is measured by, or has a number that is none, or
            beyond what can be measured.
    """
    import pandas as pd

    source = str(MEASURED) if path is None else path
    try:
        frame = pd.read_csv(source)
    except (OSError, ValueError) as error:
        raise RequestError(f"{source}: cannot be read as CSV: {error}") from None
    if not isinstance(frame.index, pd.RangeIndex):
        raise RequestError(f"{source}: a line has more values than there are columns")
    missing = [name for name in ("device", "kernel", "seconds") if name not in frame]
    if missing:
        raise RequestError(f"{source}: columns {', '.join(missing)} are missing")
    for name in COLUMNS:
        if name not in frame:
            frame[name] = np.nan if name not in {"source", "dtype"} else ""
    known = {GEMM, PREFILL, DECODE, *RINGS, *STREAMS}
    frame["dtype"] = frame["dtype"].fillna("fp16").replace("", "fp16")
    odd = sorted(set(frame["dtype"].astype(str)) - set(BYTES))
    if odd:
        raise RequestError(f"{source}: dtype {odd[0]!r}: {', '.join(BYTES)} are known")
    unknown = sorted(set(frame["kernel"].astype(str)) - known)
    if unknown:
        raise RequestError(f"{source}: kernel {unknown[0]!r}: {', '.join(sorted(known))} are known")
    _check_numbers(frame, source)
    return frame


def _check_numbers(frame: pd.DataFrame, source: object) -> None:
    """Make the columns of numbers numbers; raise a RequestError that names a line's fault."""
    import pandas as pd

    for name in COLUMNS[4:]:
        given = frame[name]
        numbers = pd.Series([_number(value) for value in given], frame.index, float)
        least, most = SECONDS if name == "seconds" else (1.0, MOST)
        wrong = given.notna() & ~numbers.between(least, most)
        lacking = given.isna() & frame["kernel"].map(lambda kernel, n=name: n in needed(kernel))
        if wrong.any():
            line = int(np.flatnonzero(wrong)[0])
            allowed = f"from {least:g} to {most:g}" if numbers.iloc[line] > 0 else "above 0"
            said = f"{name} must be {allowed}, not {str(given.iloc[line])!r:.40}"
            raise RequestError(f"{source}: line {line + 2}: {said}")
        if lacking.any():
            line = int(np.flatnonzero(lacking)[0])
            said = f"{frame['kernel'].iloc[line]} needs {name}"
            raise RequestError(f"{source}: line {line + 2}: {said}")
        frame[name] = numbers


def _number(value: object) -> float:
    """A cell as a number; NaN: it is none."""
    try:
        return float(str(value))
    except ValueError:
        return math.nan


def needed(kernel: str) -> tuple[str, ...]:
    """Return the columns of numbers that a kernel's measurements cannot do without."""
    if kernel == GEMM:
        return "m", "n", "k", "seconds"
    if kernel in {PREFILL, DECODE}:
        return "heads", "kv_heads", "head_dim", "batch", "context", "seconds"
    return ("ranks", "bytes", "seconds") if kernel in RINGS else ("bytes", "seconds")
