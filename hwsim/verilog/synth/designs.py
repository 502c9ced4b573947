"""The designs that can be synthesised: data, checked before a tool is started."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.verilog.sources import RTL
from quant.common.errors import RequestError

DESIGNS = Path(__file__).resolve().with_name("designs.toml")
KINDS: Mapping[str, type] = {
    "name": str,
    "top": str,
    "sources": list,
    "parameters": dict,
    "note": str,
    "group": str,
}
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
OPTIONAL = ("parameters", "group")


@dataclass(frozen=True)
class Design:
    """One top module with its sources and parameters (as Verilog text)."""

    name: str
    top: str
    sources: tuple[Path, ...]
    parameters: tuple[tuple[str, str], ...]
    note: str
    group: str


def listed(names: Iterable[str]) -> str:
    """Return names as one phrase."""
    return ", ".join(names) or "none"


def load(path: Path = DESIGNS) -> tuple[Design, ...]:
    """Read and check a designs file.

    Raises:
        RequestError: it cannot be read, or what a design says is wrong.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        message = getattr(error, "strerror", None) or error
        raise RequestError(f"designs file {path}: {message}") from None
    unknown = sorted(set(data) - {"design"})
    if unknown:
        raise RequestError(f"{path.name}: unknown key {unknown[0]!r}; allowed: design")
    entries = data.get("design", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RequestError(f"{path.name}: 'design' must be a list of tables, [[design]]")
    designs = tuple(_design(path.name, number, entry) for number, entry in enumerate(entries, 1))
    _check_names(path.name, designs)
    return designs


def select(designs: Sequence[Design], names: Sequence[str]) -> tuple[Design, ...]:
    """Return the designs of these names or groups, in the file's order; all if there are none.

    Raises:
        RequestError: a name that no design and no group has.
    """
    known = [design.name for design in designs]
    groups = sorted({design.group for design in designs if design.group})
    for name in names:
        if name not in known and name not in groups:
            also = f"; groups: {listed(groups)}" if groups else ""
            raise RequestError(f"unknown design {name!r}; allowed: {listed(known)}{also}")
    wanted = set(names)
    return tuple(d for d in designs if not names or d.name in wanted or d.group in wanted)


def _check_names(file: str, designs: Sequence[Design]) -> None:
    names = [design.name for design in designs]
    for name in names:
        if names.count(name) > 1:
            raise RequestError(f"{file}: design {name!r} is there twice; names must differ")


def _design(file: str, number: int, entry: dict[str, Any]) -> Design:
    name = entry.get("name")
    where = f"{file}: design {name if isinstance(name, str) else f'number {number}'}"
    for key, value in entry.items():
        if key not in KINDS:
            raise RequestError(f"{where}: unknown key {key!r}; allowed: {listed(KINDS)}")
        if not isinstance(value, KINDS[key]):
            kind = KINDS[key].__name__
            raise RequestError(f"{where}: {key} must be a {kind}, it is {value!r}")
    for key in KINDS:
        if key not in OPTIONAL and not entry.get(key):
            raise RequestError(f"{where}: {key} is missing or empty")
    parameters = entry.get("parameters", {})
    sources = _sources(where, entry["sources"])
    _check_top(where, entry["top"], parameters, sources)
    return Design(
        name=entry["name"],
        top=entry["top"],
        sources=sources,
        parameters=tuple((key, _verilog(where, key, value)) for key, value in parameters.items()),
        note=entry["note"],
        group=entry.get("group", ""),
    )


def _sources(where: str, patterns: list[Any]) -> tuple[Path, ...]:
    found: dict[Path, None] = {}  # an ordered set: a glob may repeat a package named before it
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise RequestError(f"{where}: a source must be text, it is {pattern!r}")
        is_glob = any(mark in pattern for mark in "*?[")
        files = sorted(RTL.glob(pattern)) if is_glob else [RTL / pattern]
        if not files or not all(file.is_file() for file in files):
            raise RequestError(f"{where}: no file {pattern!r} under {RTL}")
        found.update(dict.fromkeys(files))
    return tuple(found)


def _check_top(where: str, top: str, parameters: Iterable[str], sources: Iterable[Path]) -> None:
    # slang passes over a parameter that the module does not have: the default would be measured.
    text = "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in sources)
    text = COMMENT.sub(" ", text)
    body = re.search(rf"\bmodule\s+(?:automatic\s+)?{re.escape(top)}\b.*?\bendmodule\b", text, re.S)
    if body is None:
        raise RequestError(f"{where}: no module {top!r} in its sources")
    for name in parameters:
        if not re.search(rf"\b{re.escape(name)}\b[^=<>!,;]*=[^=]", body[0]):
            raise RequestError(f"{where}: module {top} has no parameter {name!r}")


def _verilog(where: str, key: str, value: object) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int | str):
        return str(value)
    raise RequestError(f"{where}: parameter {key} must be a whole number, true, false or text")
