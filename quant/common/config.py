"""TOML and JSON become frozen dataclasses here, reporting every fault with its path at once."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from quant.common.errors import RequestError

T = TypeVar("T")


def parse(data: object, shape: type[T], where: str) -> T:
    """Return ``data`` as an instance of the dataclass ``shape``.

    Raises:
        RequestError: naming ``where`` and, for every fault, its path and what is allowed.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(shape).validate_python(data)
    except ValidationError as error:
        faults = "; ".join(_fault(entry) for entry in error.errors())
        raise RequestError(f"{where}: {faults}") from None


def load_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        RequestError: the file is missing or not TOML; the message names file, line and column.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RequestError(f"{path}: cannot be read as TOML: {error}") from None


def _fault(entry: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails, which needs its import
    path = ".".join(str(part) for part in entry["loc"]) or "(top)"
    return f"{path}: {entry['msg']} (got {entry['input']!r:.80})"
