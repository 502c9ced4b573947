"""Plan: which format each layer gets, and by which method. TOML in and out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeGuard

from quant.common import arguments
from quant.common.config import load_toml, parse
from quant.common.errors import RequestError
from quant.common.files import write_text
from quant.formats.spec import FORMAT, FormatSpec, as_spec, parse_spec
from quant.layers.patterns import chosen_by, matched
from quant.methods.base import Method
from quant.methods.mixed import Mixed
from quant.methods.registry import DEFAULT_METHOD, get_method

HEAD = "lm_head"


@dataclass(frozen=True)
class Recipe:
    """How the matrices of a pattern are rounded, where that is not as the plan says for all.

    Attributes:
        method: Name of the method; empty: the plan's.
        options: What is not as it usually is with that method.
    """

    method: str = ""
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """Formats by torch module path.

    Attributes:
        layers: Path of a matrix, or a pattern (``matches``), to ``NAME[:gGROUP][:SCALE]``;
            specifications become their texts. A table ``{format, method, ...}`` gives a pattern a
            method of its own with its options, which ``recipes`` holds then.
        model: The model it was made for; empty for any.
        method: How weights are rounded.
        options: Options of the method.
        recipes: Pattern of ``layers`` -> how it is rounded.
        schema: The file's version.
    """

    layers: dict[str, str]
    model: str = ""
    method: str = DEFAULT_METHOD
    options: dict[str, Any] = field(default_factory=dict, kw_only=True)
    recipes: dict[str, Recipe] = field(default_factory=dict, kw_only=True)
    schema: Literal["plan/1"] = field(default="plan/1", kw_only=True)

    def __post_init__(self) -> None:
        given = arguments.table("layers", self.layers, lambda _, value: value)
        own = {path: _recipe(path, value) for path, value in given.items() if _is_table(value)}
        recipes = arguments.table("recipes", self.recipes, _a_recipe)
        object.__setattr__(self, "recipes", {**recipes, **own})
        texts = {p: v.get("format", "") if _is_table(v) else v for p, v in given.items()}
        layers = arguments.table("layers", texts, _format_text)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "model", arguments.text("model", self.model))
        object.__setattr__(self, "method", arguments.text("method", self.method))
        options = arguments.table("options", self.options, lambda _, value: value)
        object.__setattr__(self, "options", options)
        arguments.choice("schema", self.schema, ("plan/1",))
        faults = []
        own = {f"layers.{path}: ": recipe for path, recipe in self.recipes.items()}
        for where, recipe in {"": Recipe(self.method, self.options), **own}.items():
            try:
                get_method(recipe.method or self.method).configured(recipe.options)
            except RequestError as error:
                faults.append(f"{where}{error}")
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
        layers: dict[str, Any] = dict(self.layers)
        for path, recipe in self.recipes.items():
            named = {"method": recipe.method} if recipe.method else {}
            layers[path] = {"format": self.layers[path], **named, **recipe.options}
        options = {"options": self.options} if self.options else {}
        return tomli_w.dumps({**head, **options, "layers": layers})

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
        if "recipes" in data:  # how the class holds them, not how a file says it
            raise RequestError(f"{path}: recipes: no such key (a table of a layer has its method)")
        layers = data.get("layers")
        tables = {k: v for k, v in layers.items() if _is_table(v)} if _is_table(layers) else {}
        try:
            recipes = {key: _recipe(key, value) for key, value in tables.items()}
        except RequestError as error:
            raise RequestError(f"{path}: {error}") from None
        if tables:
            assert isinstance(layers, dict)
            data["layers"] = layers | {k: v.get("format", "") for k, v in tables.items()}
        plan = parse(data, cls, str(path))
        return replace(plan, recipes=recipes) if recipes else plan


Formats: TypeAlias = str | FormatSpec | Mapping[str, Any] | Plan
"""One format for every matrix but heads and embeddings, formats by path or pattern (as Plan.layers
has them, tables too), or a plan."""


def assign(
    formats: Formats,
    paths: Iterable[str],
    apart: Collection[str] = (HEAD,),
    *,
    ignore: Collection[str] = (),
    kinds: Mapping[str, str] | None = None,
) -> dict[str, FormatSpec]:
    """Return the format of each path that gets one.

    A single format means every matrix but those apart. In a mapping, an exact path wins over
    patterns, a later pattern over an earlier one, and ``"*"`` leaves alone what is apart.

    Args:
        formats: One format, formats by path or pattern, or a plan.
        paths: All that may get one.
        apart: Those that ``"*"`` does not mean: heads, embeddings, towers of images.
        ignore: Patterns of those that get none, whatever else is said.
        kinds: Class of the module of each path, for patterns ``type:Conv2d``.

    Raises:
        RequestError: an unknown format, or a pattern or path that matches nothing, with the
            nearest paths.

    Example:
        >>> found = assign({"*": "bitmod4", "*.down": "int8"}, ["a.up", "a.down", "lm_head"])
        >>> {path: str(spec) for path, spec in found.items()}
        {'a.up': 'bitmod4:g128:fp16', 'a.down': 'int8:g128:fp16'}
    """
    known = list(paths)
    left = {path for pattern in ignore for path in matched(pattern, known, kinds)}
    chosen = chosen_by(_patterns(formats), known, apart, kinds)
    return {path: spec for path, spec in chosen.items() if path not in left}


def method_of(formats: Formats, method: str | Method = "") -> Method:
    """Return the method of a request: the one it names, else its plan's, else the default.

    Args:
        formats: What is quantized to what; patterns may have methods of their own.
        method: Takes the place of all that a plan says of methods.

    Raises:
        RequestError: no method has that name, or methods that cannot be in one run.
    """
    if isinstance(method, Method):
        return method
    if not isinstance(method, str):
        raise arguments.wrong_type("method", method, "a name (`quant list`) or a Method")
    if method:
        return get_method(method)
    plan = formats if isinstance(formats, Plan) else None
    first = get_method(plan.method).configured(plan.options) if plan else get_method(DEFAULT_METHOD)
    own = {pattern: _method(recipe, plan) for pattern, recipe in recipes_of(formats).items()}
    return Mixed(first, dict.fromkeys(_patterns(formats), first) | own) if own else first


def plan_of(specs: Mapping[str, FormatSpec], method: Method, model: str) -> Plan:
    """Return what was done as a plan: the format of each path, and its method."""
    layers = {path: str(spec) for path, spec in specs.items()}
    if not isinstance(method, Mixed):
        return Plan(layers, model, method.name, options=method.options)
    first = method.first
    own = {path: method.of(path) for path in layers}
    recipes = {p: Recipe(m.name, m.options) for p, m in own.items() if m is not first}
    return Plan(layers, model, first.name, options=first.options, recipes=recipes)


def recipes_of(formats: Formats) -> dict[str, Recipe]:
    """Return the methods that patterns have of their own."""
    if isinstance(formats, Plan):
        return formats.recipes
    if isinstance(formats, Mapping):
        return {p: _recipe(p, value) for p, value in formats.items() if _is_table(value)}
    return {}


NOTHING = "nothing to quantize: the formats name no matrix of the model, or all are left out"


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
            method.of(path).check_format(spec)


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
    if isinstance(format_, Mapping):
        format_ = _recipe(name, format_) and format_["format"]
    return as_spec(format_, name)  # type: ignore[arg-type]  # which it checks


def _format_text(name: str, format_: object) -> str:
    return str(format_) if isinstance(format_, FormatSpec) else arguments.text(name, format_)


def _method(recipe: Recipe, plan: Plan | None) -> Method:
    named = recipe.method or (plan.method if plan else DEFAULT_METHOD)
    return get_method(named).configured(recipe.options)


def _a_recipe(name: str, value: object) -> Recipe:
    return arguments.one_of(name, value, Recipe, "a Recipe")


def _recipe(path: str, table: Mapping[str, Any]) -> Recipe:
    """The method and the options in a table of a plan."""
    if "format" not in table:
        raise RequestError(f"layers.{path}: format is missing")
    method = arguments.text(f"layers.{path}.method", table.get("method", ""))
    options = {name: v for name, v in table.items() if name not in ("format", "method")}
    return Recipe(method, options)


def _is_table(value: object) -> TypeGuard[Mapping[str, Any]]:
    return isinstance(value, Mapping)
