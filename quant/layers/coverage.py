"""What of a model is not quantized, and why: in numbers, and in a line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from quant.layers.weights import Inventory

COVERED = 0.95
"""Share of the weights that ``"*"`` means, from which a model counts as quantized."""
OUTSIDE = ("embedding", "head")
"""What ``"*"`` does not mean in any model."""
NOT_ASKED = "not in the plan"


@dataclass(frozen=True)
class Kept:
    """A parameter, or a matrix of one, that is not quantized.

    Attributes:
        count: How many numbers it has.
        bits: How many bits they take.
        why: What it is, or why it was left.
    """

    count: int
    bits: int
    why: str

    @classmethod
    def of(cls, dtype: torch.dtype, count: int, why: str) -> Kept:
        """Return what numbers of a type are."""
        return cls(count, count * dtype.itemsize * 8, why)


def kept_of(found: Inventory, quantized: Iterable[str]) -> dict[str, Kept]:
    """Return everything of a model that is not quantized, each number once.

    Args:
        found: The inventory of the model.
        quantized: Paths of the matrices that are quantized.

    Returns:
        Name of a parameter, or path of a matrix of a stack -> what it is.
    """
    done = set(quantized)
    kept: dict[str, Kept] = {}
    counted: set[int] = set()
    for path, weight in found.weights.items():
        own = id(weight.parameter)
        if path in done or (own in counted and not weight.layout.is_stack):
            continue
        counted.add(own)
        why = weight.apart or NOT_ASKED
        kept[weight.stored_name] = Kept.of(weight.parameter.dtype, weight.count, why)
    for name, other in found.others.items():
        kept[name] = Kept.of(other.parameter.dtype, other.parameter.numel(), other.why)
    return kept


def coverage_of(quantized: int, kept: Mapping[str, Kept]) -> float:
    """Return quantized weights over all numbers but those of embeddings and heads; 1 if none."""
    left = sum(entry.count for entry in kept.values() if entry.why not in OUTSIDE)
    return quantized / (quantized + left) if quantized + left else 1.0


def coverage_said(quantized: int, kept: Mapping[str, Kept]) -> str:
    """Return in a line that much was left, and what; empty where at least 95 % is quantized."""
    share = coverage_of(quantized, kept)
    if share >= COVERED:
        return ""
    left = {name: entry for name, entry in kept.items() if entry.why not in OUTSIDE}
    return (
        f"only {share:.1%} of the weights beside embeddings and head are quantized; "
        f"left: {kept_said(left)}"
    )


def kept_said(kept: Mapping[str, Kept]) -> str:
    """Return in a line how many numbers stay as they are, by what they are."""
    return ", ".join(f"{count:,} ({why})" for why, count in sums_of(kept).items())


def sums_of(kept: Mapping[str, Kept]) -> dict[str, int]:
    """Return how many numbers stay as they are, by what they are, most first."""
    sums: dict[str, int] = {}
    for entry in kept.values():
        sums[entry.why] = sums.get(entry.why, 0) + entry.count
    return dict(sorted(sums.items(), key=lambda item: (-item[1], item[0])))


def grouped(notes: Mapping[str, str]) -> list[str]:
    """Return a line for each different note, with how many matrices it is about and the first."""
    by_note: dict[str, list[str]] = {}
    for path, what in notes.items():
        by_note.setdefault(what, []).append(path)
    return [
        f"{what}: {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else "")
        for what, paths in by_note.items()
    ]
