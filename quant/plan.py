"""Plan: which format each layer gets, and by which method. TOML in and out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeAlias

from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.common.files import write_text
from quant.formats.spec import FormatSpec, parse_spec
from quant.methods.base import Method
from quant.methods.registry import DEFAULT_METHOD, get_method

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
    method: str = DEFAULT_METHOD
    schema: Literal["plan/1"] = field(default="plan/1", kw_only=True)

    def __post_init__(self) -> None:
        faults = []
        try:
            get_method(self.method)
        except RequestError as error:
            faults.append(str(error))
        for path, text in self.layers.items():
            try:
                parse_spec(text)
            except RequestError as error:
                faults.append(f"layers.{path}: {error}")
        if faults:
            raise RequestError("; ".join(faults))

    @property
    def specs(self) -> dict[str, FormatSpec]:
        """The formats by module path or pattern, as specifications."""
        return {path: parse_spec(text) for path, text in self.layers.items()}

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


Formats: TypeAlias = str | FormatSpec | Mapping[str, str | FormatSpec] | Plan
"""One format for every layer but the head, formats by module path or pattern, or a plan."""


def assign(formats: Formats, paths: Iterable[str]) -> dict[str, FormatSpec]:
    """Return the format of each module path that gets one.

    A single format means every layer but the head. In a mapping, ``*`` spans dots; an exact path
    wins over patterns, a later pattern over an earlier one, and ``"*"`` leaves the head alone.

    Raises:
        RequestError: an unknown format, or a pattern or path that matches nothing, with the
            nearest paths.

    Example:
        >>> found = assign({"*": "bitmod4", "*.down": "int8"}, ["a.up", "a.down", "lm_head"])
        >>> {path: str(spec) for path, spec in found.items()}
        {'a.up': 'bitmod4:g128:fp16', 'a.down': 'int8:g128:fp16'}
    """
    patterns = _patterns(formats)
    known = list(paths)
    chosen: dict[str, FormatSpec] = {}
    for pattern, spec in patterns.items():
        matched = [path for path in known if fnmatchcase(path, pattern)]
        if not matched:
            raise unknown_name("layer", pattern, _short(known))
        for path in matched:
            if not (pattern == "*" and path == HEAD):
                chosen[path] = spec
    chosen.update({path: spec for path, spec in patterns.items() if path in known})
    return {path: chosen[path] for path in known if path in chosen}


def method_of(formats: Formats, method: str | Method = "") -> Method:
    """Return the method of a request: the one it names, else its plan's, else the default.

    Raises:
        RequestError: no method has that name.
    """
    if isinstance(method, Method):
        return method
    planned = formats.method if isinstance(formats, Plan) else DEFAULT_METHOD
    return get_method(method or planned)


def _patterns(formats: Formats) -> dict[str, FormatSpec]:
    if isinstance(formats, Plan):
        return formats.specs
    texts = formats if isinstance(formats, Mapping) else {"*": formats}
    return {p: parse_spec(f) if isinstance(f, str) else f for p, f in texts.items()}


def _short(paths: list[str]) -> list[str]:
    """Paths with their layer numbers left out, so that a message stays readable."""
    return sorted({re.sub(r"\.\d+\.", ".*.", path) for path in paths})
