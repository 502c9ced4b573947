"""What a checkpoint folder holds, as its manifest says it: layers, formats, other parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quant.common import arguments
from quant.common.config import parse
from quant.common.errors import RequestError
from quant.common.manifest import MANIFEST, whole_manifest
from quant.formats.custom import user_format
from quant.formats.elements import Codebook
from quant.formats.format import Format, Ties
from quant.formats.registry import FORMATS
from quant.formats.spec import FormatSpec
from quant.layers.coverage import Kept, coverage_of

if TYPE_CHECKING:
    import torch

SCHEMA: Literal["hwsim.checkpoint/2"] = "hwsim.checkpoint/2"


@dataclass(frozen=True)
class Layer:
    """A quantized layer in the manifest."""

    format: str
    shape: tuple[int, int]


@dataclass(frozen=True)
class StoredGrid:
    """A grid of the user's: what ``quant.user_format`` made it of."""

    levels: tuple[float, ...]
    ties: Ties
    group_size: int
    source: str


@dataclass(frozen=True)
class Findings:
    """What quantization found out beside the codes.

    Attributes:
        poor_groups: Groups with a relative error of 0.5 or more.
        groups: Groups that were looked at.
        why: Parameter that is not quantized -> what it is.
        notes: Layer that was not treated as the method treats it -> what was done.
    """

    poor_groups: int = 0
    groups: int = 0
    why: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint folder holds: the hash of each file, and each layer's format.

    Attributes:
        schema: The folder's version.
        request: What it was made for: hashes of the source, formats, method.
        model: The model's name.
        layers: Module path -> format and ``(out, in)``.
        others: Parameter that is not quantized -> data type and shape.
        sha256: File name -> SHA-256; every file but the manifest itself.
        poor_groups: Groups with a relative error of 0.5 or more, among those that were looked at.
        groups: Groups that were looked at: none where the weights were not at hand.
        grids: The user's grids that the formats name.
        why: Parameter that is not quantized -> what it is.
        notes: Layer that was not treated as the method treats it -> what was done.
        effective_bits: Stored bits a weight over the layers.
        whole_model_bits: Stored bits a weight over everything.
    """

    schema: Literal["hwsim.checkpoint/2"]
    request: dict[str, Any]
    model: str
    layers: dict[str, Layer]
    others: dict[str, tuple[str, tuple[int, ...]]]
    sha256: dict[str, str]
    poor_groups: int = 0
    groups: int = 0
    grids: dict[str, StoredGrid] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    effective_bits: float = 0.0
    whole_model_bits: float = 0.0

    @property
    def kept(self) -> dict[str, Kept]:
        """What is not quantized, by name."""
        return kept_in(self.others, self.why)

    @property
    def coverage(self) -> float:
        """Quantized weights over all numbers but those of embeddings and heads."""
        return coverage_of(sum(prod(layer.shape) for layer in self.layers.values()), self.kept)


def load_manifest(folder: str | Path) -> Manifest:
    """Return the manifest of a checkpoint folder after comparing its seal and every file's hash.

    Raises:
        RequestError: no manifest, one that was changed or is of another version, a file outside of
            the folder, missing, cut or changed.
    """
    folder = arguments.path("folder", folder)
    found = whole_manifest(folder)
    if found["schema"] != SCHEMA:
        raise RequestError(f"{folder / MANIFEST}: schema {found['schema']!r}: {SCHEMA} is needed")
    return parse(found, Manifest, str(folder / MANIFEST))


def facts_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Return data type and shape of tensors, by name."""
    return {
        name: (str(value.dtype).removeprefix("torch."), tuple(value.shape))
        for name, value in tensors.items()
    }


def kept_in(
    others: Mapping[str, tuple[str, tuple[int, ...]]], why: Mapping[str, str]
) -> dict[str, Kept]:
    """Return what tensors are that are not quantized, given types, shapes and reasons by name."""
    import torch

    return {
        name: Kept.of(getattr(torch, kind), prod(shape), why.get(name, "other"))
        for name, (kind, shape) in others.items()
    }


def grid_facts(specs: Iterable[FormatSpec]) -> dict[str, Any]:
    """Return what grids are, by name: a name may mean another grid in another process."""
    formats = {spec.format.name: spec.format for spec in specs}
    return {
        name: [list(entry.element.values), str(entry.ties)]
        for name, entry in formats.items()
        if isinstance(entry.element, Codebook)
    }


def stored_grids(formats: Iterable[Format]) -> dict[str, StoredGrid]:
    """Return the user's grids among these formats, by name.

    Raises:
        RequestError: a format that another process could not know: not in the registry, and no
            grid that ``quant.user_format`` makes.
    """
    grids = {}
    for entry in dict.fromkeys(formats):
        if isinstance(entry.element, Codebook):
            size = entry.group_size or 128
            grid = StoredGrid(entry.element.values, entry.ties, size, entry.source)
            alike = Format(
                entry.name,
                Codebook(entry.element.bits, grid.levels),
                grid.source,
                ties=grid.ties,
                group_size=size,
            )
            if alike == entry:
                grids[entry.name] = grid
        if FORMATS.get(entry.name) != entry:
            raise RequestError(
                f"format {entry.name!r} is not in the registry: make it with quant.user_format"
            )
    return grids


def register_grid(folder: Path, name: str, grid: StoredGrid) -> None:
    """Add a grid that a folder brings to the registry of this process.

    Raises:
        RequestError: the grid is none, or its name means another one here.
    """
    try:
        user_format(
            name, grid.levels, ties=grid.ties, group_size=grid.group_size, source=grid.source
        )
    except RequestError as error:
        raise RequestError(f"{folder / MANIFEST}: grids.{name}: {error}") from None
