"""JSON that notices when it was changed: a hash over all that it means, inside it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.common.config import check_file
from quant.common.errors import RequestError
from quant.common.files import write_text

SEAL = "seal"


def digest(content: object) -> str:
    """Return the SHA-256 of what JSON content means: order of keys and blanks play no part."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with its seal, atomically; keys stay in their order."""
    whole = {**content, SEAL: digest(content)}
    write_text(path, json.dumps(whole, indent=1, allow_nan=False))


def read_json(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file holds.

    Raises:
        RequestError: the file is missing, no JSON (NaN is none), nested too deep, no object, or
            has a number that no float holds.
    """
    check_file(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = json.loads(text, parse_constant=_no_number, parse_float=_finite)
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path}: not readable as JSON: {error}") from None
    if not isinstance(data, dict):
        raise RequestError(f"{path}: {type(data).__name__} found: a JSON object is needed")
    return data


def read_sealed(path: Path) -> dict[str, Any]:
    """Return the content of sealed JSON, without the seal.

    Raises:
        RequestError: as ``read_json``, or the content is not what was sealed.
    """
    content = read_json(path)
    if SEAL not in content:
        raise RequestError(f"{path}: without a seal: another version or another program wrote it")
    if content.pop(SEAL) != digest(content):
        raise RequestError(f"{path}: damaged: its content is not what its seal was made for")
    return content


def _no_number(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is too large for a float")
    return value
