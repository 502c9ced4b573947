"""A format in one string, ``NAME[:gGROUP|row][:SCALE][:RULE]``, and the bits that it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TypeAlias

from quant.common import arguments
from quant.common.errors import RequestError, unknown_name
from quant.formats.format import Format
from quant.formats.layout import ROW, ArrayTypes, group_text
from quant.formats.registry import get_format
from quant.formats.rules import ScaleRule
from quant.formats.scale_kind import ScaleKind
from quant.formats.scales import FP16, SCALES, scale_kind

DEFAULT_GROUP = 128
DEFAULT_SCALE = "fp16"
FORMAT = "NAME[:gGROUP|row][:SCALE][:RULE], such as 'bitmod3:g128:int8', or a FormatSpec,"
"""What is allowed as a format, in words."""
_LONG = 1 << 20
"""Numbers of a row that is long enough for its scales to be spread evenly."""


@dataclass(frozen=True)
class FormatSpec:
    """A format with its group size, kind of scale and scale rule.

    ``group_size`` is ``quant.formats.layout.ROW`` where a whole row shares one scale; ``rule`` is
    None for the format's first, however it was asked for.
    """

    format: Format
    group_size: int = DEFAULT_GROUP
    scale: ScaleKind = FP16
    rule: ScaleRule | None = None

    def __post_init__(self) -> None:
        arguments.one_of("format", self.format, Format, "a Format (parse_spec reads texts)")
        size = arguments.integer("group size", self.group_size, 1)
        object.__setattr__(self, "group_size", size)
        arguments.one_of("scale", self.scale, ScaleKind, "a ScaleKind (scale_kind reads texts)")
        if self.rule is not None:
            arguments.one_of("rule", self.rule, ScaleRule, "a ScaleRule or None")
        if self.scale != self.format.scale and SCALES.get(self.scale.name) != self.scale:
            raise unknown_name("scale", self.scale.name, SCALES)
        if self.rule is not None and self.rule not in self.format.rules:
            names = [rule.name for rule in self.format.rules]
            raise unknown_name(f"scale rule of {self.format.name}", self.rule.name, names)
        if self.rule == self.format.rules[0]:
            object.__setattr__(self, "rule", None)
        self.format.layout.check(self)

    def __str__(self) -> str:
        if self.format.is_plain:
            return self.format.name
        head = f"{self.format.name}:{group_text(self.group_size)}:{self.scale}"
        return f"{head}:{self.rule}" if self.rule else head

    @property
    def name(self) -> str:
        """The format's name."""
        return self.format.name

    @property
    def scale_rule(self) -> ScaleRule:
        """The rule in use."""
        return self.rule or self.format.rules[0]

    @property
    def own_group_size(self) -> int:
        """Weights of a group where nothing else is asked for."""
        return self.format.group_size or DEFAULT_GROUP

    @property
    def own_scale(self) -> ScaleKind:
        """Kind of scale where nothing else is asked for."""
        return self.format.scale or FP16

    @property
    def element_bits(self) -> int:
        """Bits of a code."""
        return self.format.element_bits

    @property
    def selector_bits(self) -> int:
        """Bits of a group's selector."""
        return self.format.selector_bits

    @property
    def has_selectors(self) -> bool:
        """Whether groups, or the tensor, choose among candidates."""
        return self.format.candidates > 1

    @property
    def selects_per_tensor(self) -> bool:
        """Whether the tensor makes one choice for all groups."""
        return self.format.selects_per_tensor

    @property
    def has_tensor_scale(self) -> bool:
        """Whether one float32 scale serves the whole tensor (NVFP4's second level)."""
        above = self.scale.takes_tensor_scale and not self.scale_rule.is_one_level
        return above and self.format.layout.is_grid

    @property
    def has_free_scales(self) -> bool:
        """Whether scales can be moved by little, so that a method can train them."""
        return self.format.layout.is_grid and not self.scale.is_coarse

    @property
    def zero_point_bits(self) -> int:
        """Bits of a group's zero point: as wide as a code, 16 where it is a float."""
        return 16 if self.scale_rule.has_float_zero else self.format.zero_point_bits

    @cached_property
    def bytes_each(self) -> float:
        """Bytes of a number in a long row, its part of scales, selectors and zero points too."""
        return self.storage_bits(1, _LONG) / (8 * _LONG)

    def groups(self, columns: int) -> int:
        """Return how many groups a row of ``columns`` weights has; the last may be shorter."""
        columns = arguments.integer("columns", columns, 0)
        return -(-columns // self.group_size)

    def arrays(self, shape: tuple[int, int]) -> ArrayTypes:
        """Return the shape and numpy type of every array of an ``(out, in)`` tensor.

        Raises:
            RequestError: a plain format, which has no codes.
        """
        if self.format.is_plain:
            raise RequestError(f"format {self.name!r} is stored as it is: it has no codes")
        sizes = arguments.several("shape", shape, _size)
        if len(sizes) != 2:
            raise RequestError(f"shape {sizes} is not allowed: (out, in) is needed")
        return self.format.layout.arrays(self, (sizes[0], sizes[1]))

    def storage_bits(self, rows: int, columns: int) -> int:
        """Return all the bits that a ``[rows, columns]`` weight takes.

        Codes (each row padded to whole bytes), scales, row and tensor scales, selectors, zero
        points, codebooks.
        """
        rows, columns = _size("rows", rows), _size("columns", columns)
        if self.format.is_plain:
            return rows * columns * self.format.element_bits
        return self.format.layout.storage_bits(self, rows, columns)

    def effective_bits(self, rows: int, columns: int) -> float:
        """Return the stored bits per weight of a ``[rows, columns]`` weight."""
        return self.storage_bits(rows, columns) / max(1, rows * columns)


FormatLike: TypeAlias = str | FormatSpec
"""A format as users give it: ``NAME[:gGROUP][:SCALE]``, or parsed."""


def parse_spec(
    text: str, default_group: int = DEFAULT_GROUP, default_scale: str = DEFAULT_SCALE
) -> FormatSpec:
    """Return the specification that a string such as ``"bitmod3:g128:int8"`` means.

    What the string leaves open is the format's own (MX: groups of 32, E8M0 scales), else the
    defaults. A name that ends in ``.toml`` is a file with a grid of the user's.

    Raises:
        RequestError: an unknown format, scale or rule, or a group size that is not a positive
            integer.

    Example:
        >>> str(parse_spec("mxfp4")), parse_spec("bitmod3:int8").effective_bits(4096, 4096)
        ('mxfp4:g32:e8m0', 3.08203125)
    """
    return _parsed(
        arguments.text("format", text),
        arguments.integer("default_group", default_group, 1),
        arguments.text("default_scale", default_scale),
    )


@lru_cache(maxsize=4096)
def _parsed(text: str, default_group: int, default_scale: str) -> FormatSpec:
    name, *parts = text.strip().split(":")
    entry = _entry(name)
    group = entry.group_size or default_group
    scale, rule = entry.scale or scale_kind(default_scale), None
    rules = {own.name: own for own in entry.rules}
    own_scale = {} if entry.scale is None else {entry.scale.name: entry.scale}
    for part in (part.lower() for part in parts):
        if re.fullmatch(r"g[0-9]{1,18}", part):
            group = int(part[1:])
        elif part == "row":
            group = ROW
        elif part in SCALES or part in own_scale:
            scale = {**SCALES, **own_scale}[part]
        elif part in rules:
            rule = rules[part]
        else:
            named = f", a rule ({', '.join(rules)})" if len(rules) > 1 else ""
            allowed = f"gN (a group size), row, a scale ({', '.join(SCALES)}){named}"
            raise RequestError(f"format {text!r}: {part!r} is not allowed; use {allowed}")
    return FormatSpec(entry, group, scale, rule)


def as_spec(format_: FormatLike, name: str = "format") -> FormatSpec:
    """Return the specification that a user's format means.

    Args:
        format_: A format string, or a specification.
        name: The argument, for the error.

    Raises:
        RequestError: as ``parse_spec``.
    """
    if isinstance(format_, FormatSpec):
        return format_
    if not isinstance(format_, str):
        raise arguments.wrong_type(name, format_, FORMAT)
    return parse_spec(format_)


def specification(
    format_: str | Format | FormatSpec,
    group_size: int | None = None,
    scale: str | ScaleKind | None = None,
) -> FormatSpec:
    """Return the specification of a format that weights can be quantized to.

    Args:
        format_: A format string, a format, or a specification.
        group_size: Takes the place of its group size.
        scale: Takes the place of its kind of scale.

    Raises:
        RequestError: as ``parse_spec``, or a format that is stored as it is.
    """
    if isinstance(format_, Format):
        size = format_.group_size or DEFAULT_GROUP
        format_ = FormatSpec(format_, size, format_.scale or FP16)
    spec = as_spec(format_)
    size = spec.group_size if group_size is None else group_size
    kind = spec.scale if scale is None else scale_of(scale)
    spec = FormatSpec(spec.format, size, kind, spec.rule)
    if spec.format.is_plain:
        raise RequestError(f"format {spec.format.name!r} is stored as it is: nothing to quantize")
    return spec


def _size(name: str, value: object) -> int:
    return arguments.integer(name, value, 0)


def scale_of(scale: str | ScaleKind) -> ScaleKind:
    """Return the kind of scale that a user's argument means.

    Raises:
        RequestError: an unknown name, or neither a name nor a kind.
    """
    if isinstance(scale, ScaleKind):
        return scale
    if not isinstance(scale, str):
        raise arguments.wrong_type("scale", scale, f"one of {', '.join(SCALES)}, or a ScaleKind,")
    return scale_kind(scale)


def _entry(name: str) -> Format:
    if name.lower().endswith(".toml"):
        from quant.formats.custom import load_grid

        return load_grid(name)
    return get_format(name.lower())
