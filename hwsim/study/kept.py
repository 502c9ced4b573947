"""Sensitivities that are kept on disk: sealed, so that a damaged table is never believed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from quant.common.errors import HwsimError, RequestError
from quant.common.progress import say
from quant.common.sealed import read_sealed, write_sealed

SCHEMA = "hwsim.sensitivity/1"


def keep(frame: pd.DataFrame, path: Path) -> None:
    """Write a table ``[layers, formats]``, every number to its last bit."""
    content = {
        "schema": SCHEMA,
        "key": path.stem,
        "layers": list(frame.index),
        "formats": list(frame.columns),
        "nat_per_token": frame.to_numpy(np.float64).tolist(),
    }
    write_sealed(path, content)


def load_kept(path: Path, layers: Sequence[str], formats: Sequence[str]) -> pd.DataFrame | None:
    """Return a kept table, to the last bit as it was; None: there is none that is whole.

    One that was damaged, or is not of these layers and formats, is said to be so.
    """
    if not path.is_file():
        return None
    try:
        found = read_sealed(path)
    except RequestError as error:
        say(f"{error}; made anew")
        return None
    named = [found.get(name) for name in ("schema", "key", "layers", "formats")]
    if named != [SCHEMA, path.stem, list(layers), list(formats)]:
        say(f"{path}: another table than its name says; made anew")
        return None
    values = np.array(found["nat_per_token"], np.float64)
    return pd.DataFrame(values, index=list(layers), columns=list(formats))


def check_losses(frame: pd.DataFrame) -> None:
    """Raise a HwsimError that names a layer and a format whose expected loss is no number."""
    bad = np.argwhere(~np.isfinite(frame.to_numpy(np.float64)))
    if bad.size:
        row, column = bad[0]
        raise HwsimError(
            f"layer {frame.index[row]}, format {frame.columns[column]}: the expected loss is "
            f"{frame.iloc[row, column]}: gradients or inputs of the calibration overflow"
        )
