"""Plan: which format each layer gets. TOML in and out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.common.files import write_text
from quant.formats.spec import parse_spec
from quant.methods.registry import METHODS

HEAD = "lm_head"


@dataclass(frozen=True)
class Plan:
    """Formats by torch module path.

    Attributes:
        layers: Module path, or a pattern with ``*``, to ``NAME[:gGROUP][:SCALE]``.
        model: The model it was made for; empty for any.
        method: How weights are rounded.
        schema: The file's version.
    """

    layers: dict[str, str]
    model: str = ""
    method: str = "rtn"
    schema: Literal["plan/1"] = field(default="plan/1", kw_only=True)

    def __post_init__(self) -> None:
        faults = [] if self.method in METHODS else [_unknown_method(self.method)]
        for path, text in self.layers.items():
            try:
                parse_spec(text)
            except RequestError as error:
                faults.append(f"layers.{path}: {error}")
        if faults:
            raise RequestError("; ".join(faults))

    def to_toml(self) -> str:
        """Return the plan as TOML."""
        import tomli_w

        head = {"schema": self.schema, "model": self.model, "method": self.method}
        return tomli_w.dumps({**head, "layers": dict(self.layers)})

    def save(self, path: Path) -> None:
        """Write the plan to a file, atomically."""
        write_text(path, self.to_toml())

    @classmethod
    def load(cls, path: Path) -> Plan:
        """Return the plan of a TOML file.

        Raises:
            RequestError: not TOML, an unknown key or format; all faults at once.
        """
        data = load_toml(path)
        if data.get("schema") != "plan/1":
            raise RequestError(f"{path}: schema is {data.get('schema')!r}: 'plan/1' is needed")
        return parse(data, cls, str(path))


def assign(formats: str | Mapping[str, str] | Plan, paths: Iterable[str]) -> dict[str, str]:
    """Return the format of each module path that gets one.

    A string means every layer but the head. In a mapping, ``*`` spans dots; an exact path wins
    over patterns, a later pattern over an earlier one, and ``"*"`` leaves the head alone.

    Raises:
        RequestError: a pattern or path that matches nothing, with the nearest paths.
    """
    if isinstance(formats, Plan):
        formats = formats.layers
    patterns = {"*": formats} if isinstance(formats, str) else dict(formats)
    known, chosen = list(paths), {}
    for pattern, text in patterns.items():
        matched = [path for path in known if fnmatchcase(path, pattern)]
        if not matched:
            raise unknown_name("layer", pattern, _short(known))
        for path in matched:
            if not (pattern == "*" and path == HEAD):
                chosen[path] = text
    chosen.update({path: text for path, text in patterns.items() if path in known})
    for text in chosen.values():
        parse_spec(text)
    return {path: chosen[path] for path in known if path in chosen}


def _unknown_method(name: str) -> str:
    return str(unknown_name("method", name, METHODS))


def _short(paths: list[str]) -> list[str]:
    """Paths with their layer numbers left out, so that a message stays readable."""
    return sorted({re.sub(r"\.\d+\.", ".*.", path) for path in paths})
