"""TOML and JSON become frozen dataclasses here, reporting every fault with its path at once."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_type_hints

from quant.common.errors import RequestError

T = TypeVar("T")


def parse(data: object, shape: type[T], where: str) -> T:
    """Return ``data`` as an instance of the dataclass ``shape``.

    Raises:
        RequestError: naming ``where`` and, for every fault, its path and what is allowed.
    """
    from pydantic import TypeAdapter, ValidationError

    faults = _unknown_keys(data, shape, "")
    try:
        value = TypeAdapter(shape).validate_python(data)
    except ValidationError as error:
        faults += [_fault(entry) for entry in error.errors()]
    if faults:
        raise RequestError(f"{where}: {'; '.join(faults)}")
    return value


def load_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises:
        RequestError: the file is missing or not TOML, nested too deep, or with a number of
            thousands of digits; the message names file, line and column.
    """
    check_file(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path}: cannot be read as TOML: {error}") from None


def check_file(path: Path) -> None:
    """Raise a RequestError where there is nothing of that name, or a folder."""
    if path.is_dir():
        raise RequestError(f"{path}: a folder: a file is needed")
    if not path.exists():
        raise RequestError(f"{path}: no such file")


def _unknown_keys(data: object, shape: object, path: str) -> list[str]:
    """Name every key that a dataclass does not have: a misspelt key must not be ignored."""
    if isinstance(shape, UnionType):  # such as ``Kind | None``
        shape = next((kind for kind in get_args(shape) if dataclasses.is_dataclass(kind)), shape)
    if not (isinstance(data, dict) and dataclasses.is_dataclass(shape)):
        return []
    hints = get_type_hints(shape)
    faults = []
    for key, value in data.items():
        if key in hints:
            faults += _unknown_keys(value, hints[key], f"{path}{key}.")
        else:
            faults.append(f"{path}{key}: no such key (known: {', '.join(hints)})")
    return faults


def _fault(entry: Any) -> str:  # noqa: ANN401  pydantic's ErrorDetails, which needs its import
    path = ".".join(str(part) for part in entry["loc"]) or "(top)"
    if entry["type"] == "value_error":  # raised by a class of ours, which says it all
        own = str(entry["ctx"]["error"])
        return own if not entry["loc"] else f"{path}: {own}"
    return f"{path}: {entry['msg']} (got {entry['input']!r:.80})"
