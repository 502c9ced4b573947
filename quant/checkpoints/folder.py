"""Quantized checkpoints: safetensors, packed codes, a manifest of hashes; whole or absent.

A folder holds ``manifest.json``, ``plan.toml``, the codes (``quantized.safetensors``) and what is
not quantized (``rest.safetensors``); a large model has numbered shards of both.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from quant.common.config import parse
from quant.common.errors import HwsimError, RequestError
from quant.common.files import atomic_folder, check_folder, sha256_of
from quant.formats.custom import user_format
from quant.formats.elements import Codebook
from quant.formats.format import Format, Ties
from quant.formats.registry import FORMATS
from quant.formats.spec import FormatSpec, parse_spec
from quant.plan import Plan
from quant.tensors.arrays import check_parts, parts
from quant.tensors.tensor import PARTS, QuantizedTensor

if TYPE_CHECKING:
    import torch

MANIFEST, PLAN = "manifest.json", "plan.toml"
CODES, REST = "quantized.safetensors", "rest.safetensors"
SCHEMA: Literal["hwsim.checkpoint/1"] = "hwsim.checkpoint/1"
_SHARD = r"(-\d{5}-of-\d{5})?\.safetensors"


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
class Manifest:
    """What a checkpoint folder holds: the hash of each file, and each layer's format.

    Attributes:
        schema: The folder's version.
        model: The model's name.
        sha256: File name -> SHA-256; every file but the manifest itself.
        layers: Module path -> format and ``(out, in)``.
        grids: The user's grids that the formats name.
    """

    schema: Literal["hwsim.checkpoint/1"]
    model: str
    sha256: dict[str, str]
    layers: dict[str, Layer]
    grids: dict[str, StoredGrid] = field(default_factory=dict)


def save_quantized(
    folder: Path,
    tensors: Mapping[str, QuantizedTensor],
    *,
    model: str = "",
    rest: Mapping[str, torch.Tensor] | None = None,
) -> None:
    """Write quantized layers, and optionally everything else of the model, to a folder.

    Args:
        folder: Replaced as a whole, or left as it was if writing fails.
        tensors: Module path -> codes. User-defined grids are stored with their levels.
        model: The model's name.
        rest: Parameters that are not quantized, by their names.

    Raises:
        RequestError: a tensor whose arrays do not fit its format, a format of the caller's that is
            neither registered nor a grid, or a folder that holds anything but a checkpoint.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file
    from safetensors.torch import save_file as save_torch

    check_folder(folder, MANIFEST)
    arrays: dict[str, np.ndarray] = {}
    for path, tensor in tensors.items():
        arrays |= {f"{path}.{part}": value for part, value in parts(tensor).items()}
    for path, tensor in tensors.items():
        check_parts(path, tensor.spec, tensor.shape, parts(tensor))
    with atomic_folder(folder) as target:
        try:
            save_file(arrays, target / CODES)
            if rest is not None:
                whole = {name: value.contiguous() for name, value in rest.items()}
                save_torch(whole, target / REST)
        except SafetensorError as error:
            raise HwsimError(f"{folder}: cannot be written: {error}") from None
        write_manifest(target, {path: (t.spec, t.shape) for path, t in tensors.items()}, model)


def write_manifest(
    folder: Path,
    layers: Mapping[str, tuple[FormatSpec, tuple[int, int]]],
    model: str,
    hashes: Mapping[str, str] | None = None,
) -> None:
    """Write ``plan.toml`` and ``manifest.json`` for the files that a folder holds.

    Args:
        folder: Where the arrays are already.
        layers: Module path -> format and ``(out, in)``.
        model: The model's name.
        hashes: SHA-256 of files whose content was hashed before; the others are read.
    """
    grids = stored_grids(spec.format for spec, _ in layers.values())
    Plan({path: str(spec) for path, (spec, _) in layers.items()}, model).save(folder / PLAN)
    known = dict(hashes or {})
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
    entries = {p: {"format": str(spec), "shape": list(s)} for p, (spec, s) in layers.items()}
    content: dict[str, Any] = {"schema": SCHEMA, "model": model}
    content["sha256"] = {name: known.get(name) or sha256_of(folder / name) for name in names}
    content["layers"] = entries
    if grids:
        content["grids"] = {name: asdict(grid) for name, grid in grids.items()}
    (folder / MANIFEST).write_text(json.dumps(content, indent=1), encoding="utf-8")


def load_quantized(folder: Path) -> dict[str, QuantizedTensor]:
    """Return the quantized layers of a checkpoint folder, by module path.

    Grids of the user's that the folder brings are added to the registry of this process.

    Raises:
        RequestError: no checkpoint, a file that is cut or changed (its hash differs), arrays whose
            shape, type or values do not fit the manifest, or a grid whose name means another one
            here.
    """
    manifest = load_manifest(folder)
    for name, grid in manifest.grids.items():
        _register(folder, name, grid)
    files = [name for name in manifest.sha256 if re.fullmatch("quantized" + _SHARD, name)]
    if not files and manifest.layers:
        raise RequestError(f"{folder / MANIFEST}: {CODES} has no hash")
    arrays: dict[str, np.ndarray] = {}
    for name in files:
        found = _arrays(folder / name)
        if twice := sorted(found.keys() & arrays.keys()):
            raise RequestError(f"{folder / name}: array {twice[0]!r} is in another shard too")
        arrays |= found
    tensors = {path: _tensor(path, layer, arrays) for path, layer in manifest.layers.items()}
    if arrays:
        raise RequestError(f"{folder}: array {min(arrays)!r} belongs to no layer of the manifest")
    return tensors


def load_rest(folder: Path) -> dict[str, torch.Tensor]:
    """Return the parameters of a checkpoint folder that are not quantized, by their names.

    Raises:
        RequestError: no checkpoint, or a file that is cut or changed.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    rest: dict[str, torch.Tensor] = {}
    for name in load_manifest(folder).sha256:
        if re.fullmatch("rest" + _SHARD, name):
            try:
                rest |= load_file(folder / name)
            except (SafetensorError, OSError, ValueError) as error:
                raise RequestError(f"{folder / name}: not readable: {error}") from None
    return rest


def load_manifest(folder: Path) -> Manifest:
    """Return the manifest of a checkpoint folder after comparing the hash of every file.

    Raises:
        RequestError: no manifest, a file outside of the folder, missing, cut or changed.
    """
    path = folder / MANIFEST
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"{path}: no readable manifest: {error}") from None
    manifest = parse(data, Manifest, str(path))
    for name, expected in manifest.sha256.items():
        file = folder / name
        if Path(name).name != name or "\0" in name or not file.is_file():
            raise RequestError(f"{folder}: file {name!r} of the manifest is missing")
        if (found := sha256_of(file)) != expected:
            raise RequestError(f"{file}: SHA-256 is {found}, the manifest says {expected}")
    return manifest


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
                bounded=False,
            )
            if alike == entry:
                grids[entry.name] = grid
        if FORMATS.get(entry.name) != entry:
            raise RequestError(
                f"format {entry.name!r} is not in the registry: make it with quant.user_format"
            )
    return grids


def _register(folder: Path, name: str, grid: StoredGrid) -> None:
    try:
        user_format(
            name, grid.levels, ties=grid.ties, group_size=grid.group_size, source=grid.source
        )
    except RequestError as error:
        raise RequestError(f"{folder / MANIFEST}: grids.{name}: {error}") from None


def _arrays(path: Path) -> dict[str, np.ndarray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, np.ndarray] = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise RequestError(f"{path}: not readable as safetensors: {error}") from None
    return arrays


def _tensor(path: str, layer: Layer, arrays: dict[str, np.ndarray]) -> QuantizedTensor:
    """Take a layer's arrays out of ``arrays``."""
    try:
        spec = _spec(layer.format)
    except RequestError as error:
        raise RequestError(f"layer {path}: {error}") from None
    names = {part: f"{path}.{part}" for part in {*PARTS, *_parts_of(spec, layer.shape)}}
    own: dict[str, Any] = {p: arrays.pop(name) for p, name in names.items() if name in arrays}
    check_parts(path, spec, layer.shape, own)
    return QuantizedTensor.of(spec, layer.shape, own)


def _spec(text: str) -> FormatSpec:
    if ".toml" in text:  # a file of this machine's, which no checkpoint may name
        raise RequestError(f"format {text!r} is not allowed: its name is needed")
    return parse_spec(text)


def _parts_of(spec: FormatSpec, shape: tuple[int, int]) -> Iterable[str]:
    """Names of the arrays of a layer; none for a plain format, which ``check_parts`` refuses."""
    return () if spec.format.is_plain else spec.arrays(shape)
