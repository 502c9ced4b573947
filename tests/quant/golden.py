"""The golden outputs of other implementations (tests/golden/README.md), as tests ask for them."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
PATH = Path(__file__).parent.parent / "golden/datatypes.npz"


@cache
def golden() -> dict[str, Array]:
    """Return all arrays by key."""
    with np.load(PATH) as data:
        return {key: data[key] for key in data.files}


def cases(pattern: str) -> list[str]:
    """Return the cases ``public|producer|type|params|input`` that a pattern matches whole."""
    with np.load(PATH) as data:
        keys = {key.rsplit("|", 1)[0] for key in data.files}
    return sorted(key for key in keys if re.fullmatch(pattern, key))


def source(key: str) -> Array:
    """Return the input of a case."""
    return golden()[f"public|in|{key.split('|')[4]}|x"]
