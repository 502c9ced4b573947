"""Plan: which format each layer gets, and by which method. TOML in and out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal, TypeAlias

from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError, unknown_name
from quant.common.files import write_text
from quant.formats.spec import FORMAT, FormatSpec, as_spec, parse_spec
from quant.methods.base import Method
from quant.methods.registry import DEFAULT_METHOD, get_method

HEAD = "lm_head"


@dataclass(frozen=True)
class Plan:
    """Formats by torch module path.

    Attributes:
        layers: Module path, or a pattern with ``*``, to ``NAME[:gGROUP][:SCALE]``; specifications
            become their texts.
        model: The model it was made for; empty for any.
        method: How weights are rounded.
        schema: The file's version.
    """

    layers: dict[str, str]
    model: str = ""
    method: str = DEFAULT_METHOD
    schema: Literal["plan/1"] = field(default="plan/1", kw_only=True)

    def __post_init__(self) -> None:
        layers = arguments.table("layers", self.layers, _format_text)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "model", arguments.text("model", self.model))
        arguments.choice("schema", self.schema, ("plan/1",))
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

    def save(self, path: str | Path) -> None:
        """Write the plan to a file, atomically."""
        write_text(arguments.path("path", path), self.to_toml())

    @classmethod
    def load(cls, path: str | Path) -> Plan:
        """Return the plan of a TOML file.

        Raises:
            RequestError: not TOML, an unknown key or format; all faults at once.
        """
        path = arguments.path("path", path)
        data = load_toml(path)
        if data.get("schema") != "plan/1":
            raise RequestError(f"{path}: schema is {data.get('schema')!r}: 'plan/1' is needed")
        return parse(data, cls, str(path))


Formats: TypeAlias = str | FormatSpec | Mapping[str, str | FormatSpec] | Plan
"""One format for every layer but the head, formats by module path or pattern, or a plan."""


def assign(
    formats: Formats, paths: Iterable[str], apart: Collection[str] = (HEAD,)
) -> dict[str, FormatSpec]:
    """Return the format of each module path that gets one.

    A single format means every layer but the head. In a mapping, ``*`` spans dots; an exact path
    wins over patterns, a later pattern over an earlier one, and ``"*"`` leaves the head alone.

    Args:
        formats: One format, formats by path or pattern, or a plan.
        paths: All that may get one.
        apart: Those that ``"*"`` does not mean: heads, embeddings, towers of images.

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
        matched = [path for path in known if _matches(path, pattern)]
        if not matched:
            raise unknown_name("layer", pattern, _short(known))
        for path in matched:
            if not (pattern == "*" and path in apart):
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
    if not isinstance(method, str):
        raise arguments.wrong_type("method", method, "a name (`quant list`) or a Method")
    planned = formats.method if isinstance(formats, Plan) else DEFAULT_METHOD
    return get_method(method or planned)


def check_formats(formats: Formats, method: Method) -> None:
    """Refuse a format that a method does not take, where that shows before the layers are known.

    A format of several patterns may turn out to be no layer's, and methods that look at blocks
    round layers outside of them, such as the head, to nearest: those are left to
    ``quantize_model``, which knows the layers.

    Raises:
        RequestError: as ``Method.check_format``, and an unknown format.
    """
    patterns = {path: spec for path, spec in _patterns(formats).items() if path != HEAD}
    for path, spec in patterns.items():
        inside = re.search(r"\.\d+\.", path) is not None and "*" not in path
        if not spec.format.is_plain and (inside or patterns.keys() == {"*"}):
            method.check_format(spec)


def specs_of(formats: Formats) -> dict[str, FormatSpec]:
    """Return formats by path or pattern, as specifications."""
    return _patterns(formats)


def _patterns(formats: Formats) -> dict[str, FormatSpec]:
    if isinstance(formats, Plan):
        return formats.specs
    if isinstance(formats, Mapping):
        return arguments.table("formats", formats, _spec)
    if not isinstance(formats, str | FormatSpec):
        raise arguments.wrong_type("formats", formats, f"{FORMAT} a mapping of them, or a Plan")
    return {"*": as_spec(formats, "formats")}


def _spec(name: str, format_: object) -> FormatSpec:
    return as_spec(format_, name)  # type: ignore[arg-type]  # which it checks


def _format_text(name: str, format_: object) -> str:
    return str(format_) if isinstance(format_, FormatSpec) else arguments.text(name, format_)


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern means a path; brackets stand for themselves, as experts are counted."""
    return fnmatchcase(path, pattern.replace("[", "[[]"))


def _short(paths: list[str]) -> list[str]:
    """Paths with their layer numbers left out, so that a message stays readable."""
    short = {re.sub(r"\[\d+\]", "[*]", re.sub(r"\.\d+\.", ".*.", path)) for path in paths}
    return sorted(short)
