"""A format in one string, ``NAME[:gGROUP|row][:SCALE][:RULE]``, and the bits that it takes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from quant.common.errors import RequestError, unknown_name
from quant.formats.format import ROW, Format
from quant.formats.registry import get_format

# Bits of a group's scale, and of what a row or a tensor adds to it.
SCALE_BITS = {"fp16": 16, "fp32": 32, "int8": 8, "e8m0": 8, "e4m3": 8}
ROW_SCALE_BITS = {"int8": 16}
DEFAULT_GROUP = 128
DEFAULT_SCALE = "fp16"
HIF4_BITS = 32  # E6M2 scale, eight and sixteen one-bit exponents


@dataclass(frozen=True)
class FormatSpec:
    """A format with its group size, kind of scale and scale rule.

    ``group_size`` is ``quant.formats.format.ROW`` where a whole row shares one scale;
    ``rule`` is empty for the format's first.
    """

    format: Format
    group_size: int = DEFAULT_GROUP
    scale: str = DEFAULT_SCALE
    rule: str = ""

    def __post_init__(self) -> None:
        if self.group_size < 1:
            raise RequestError(f"group size {self.group_size} is not allowed: at least 1")
        own = self.format.layout != "grid"
        if self.scale not in SCALE_BITS and not (own and self.scale == self.format.scale):
            raise unknown_name("scale", self.scale, SCALE_BITS)
        if self.rule and self.rule not in self.format.rules:
            raise unknown_name(f"scale rule of {self.format.name}", self.rule, self.format.rules)
        fixed = self.format.layout in {"hif4", "codebook"}
        if fixed and self.scale != (self.format.scale or DEFAULT_SCALE):
            raise RequestError(f"scale {self.scale!r}: {self.format.name} has its own")
        if self.format.layout == "pairs" and self.group_size != ROW:
            raise RequestError(f"group size {self.group_size}: {self.format.name} has one a row")
        if fixed and self.group_size != (self.format.group_size or DEFAULT_GROUP):
            raise RequestError(
                f"group size {self.group_size}: {self.format.name} has its own, "
                f"{_group(self.format.group_size or DEFAULT_GROUP)}"
            )

    def __str__(self) -> str:
        if self.format.is_plain:
            return self.format.name
        head = f"{self.format.name}:{_group(self.group_size)}:{self.scale}"
        return f"{head}:{self.rule}" if self.rule else head

    @property
    def scale_rule(self) -> str:
        """The rule in use."""
        return self.rule or self.format.rules[0]

    @property
    def has_tensor_scale(self) -> bool:
        """Whether one float32 scale serves the whole tensor (NVFP4's second level)."""
        return self.scale == "e4m3" and self.scale_rule != "one-level"

    @property
    def zero_point_bits(self) -> int:
        """Bits of a group's zero point: as wide as a code, 16 where it is a float."""
        return 16 if self.scale_rule == "float-zero" else self.format.zero_point_bits

    def groups(self, columns: int) -> int:
        """Return how many groups a row of ``columns`` weights has; the last may be shorter."""
        return -(-columns // self.group_size)

    def storage_bits(self, rows: int, columns: int) -> int:
        """Return all the bits that a ``[rows, columns]`` weight takes.

        Codes (each row padded to whole bytes), scales, row and tensor scales, selectors, zero
        points, codebooks.
        """
        entry = self.format
        if entry.is_plain:
            return rows * columns * entry.element_bits
        codes = -(-columns * entry.element_bits // 8) * 8
        if entry.layout == "codebook":
            return rows * (codes + (16 << entry.element_bits))
        scale = HIF4_BITS if entry.layout == "hif4" else SCALE_BITS[self.scale]
        per_group = scale + entry.selector_bits + self.zero_point_bits
        per_row = codes + self.groups(columns) * per_group + ROW_SCALE_BITS.get(self.scale, 0)
        shared = 32 if self.has_tensor_scale else 0
        if entry.selection == "tensor" and entry.candidates > 1:
            shared += 8
        return rows * per_row + shared

    def effective_bits(self, rows: int, columns: int) -> float:
        """Return the stored bits per weight of a ``[rows, columns]`` weight."""
        return self.storage_bits(rows, columns) / max(1, rows * columns)


@lru_cache(maxsize=4096)
def parse_spec(
    text: str, default_group: int = DEFAULT_GROUP, default_scale: str = DEFAULT_SCALE
) -> FormatSpec:
    """Return the specification that a string such as ``"bitmod3:g128:int8"`` means.

    What the string leaves open is the format's own (MX: groups of 32, E8M0 scales), else the
    defaults. A name that ends in ``.toml`` is a file with a grid of the user's.

    Raises:
        RequestError: an unknown format, scale or rule, or a group size that is not a positive
            integer.
    """
    name, *parts = text.strip().split(":")
    entry = _entry(name)
    group = entry.group_size or default_group
    scale, rule = entry.scale or default_scale, ""
    for part in (part.lower() for part in parts):
        if re.fullmatch(r"g\d+", part):
            group = int(part[1:])
        elif part == "row":
            group = ROW
        elif part in SCALE_BITS or part == entry.scale:
            scale = part
        elif part in entry.rules:
            rule = "" if part == entry.rules[0] else part
        else:
            rules = f", a rule ({', '.join(entry.rules)})" if len(entry.rules) > 1 else ""
            allowed = f"gN (a group size), row, a scale ({', '.join(SCALE_BITS)}){rules}"
            raise RequestError(f"format {text!r}: {part!r} is not allowed; use {allowed}")
    return FormatSpec(entry, group, scale, rule)


def _entry(name: str) -> Format:
    if name.lower().endswith(".toml"):
        from quant.formats.custom import load_grid

        return load_grid(name)
    return get_format(name.lower())


def _group(size: int) -> str:
    return "row" if size >= ROW else f"g{size}"
