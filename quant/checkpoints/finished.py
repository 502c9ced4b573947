"""A finished quantized checkpoint folder, opened: its model's shape, and tensors one at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from quant.checkpoints.contents import Manifest, load_manifest, register_grid
from quant.checkpoints.folder import layer_of
from quant.checkpoints.runnable import empty_model, is_checkpoint
from quant.checkpoints.shards import CONFIG
from quant.common.errors import RequestError
from quant.common.sealed import read_json
from quant.formats.spec import FormatSpec, parse_spec
from quant.layers.kinds import APART_HEAD
from quant.layers.weights import TIED, Inventory, inventory
from quant.tensors.tensor import PARTS, QuantizedTensor
from quant.tensors.values import first_not_finite

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class FinishedCheckpoint:
    """A checkpoint folder whose hashes are right.

    Attributes:
        folder: Where it is.
        manifest: What it holds.
        model: The architecture of its config, on the meta device.
        files: Name of a tensor -> the file that holds it.
    """

    folder: Path
    manifest: Manifest
    model: torch.nn.Module
    files: Mapping[str, str]

    @cached_property
    def inventory(self) -> Inventory:
        """The matrices of the model, and its other parameters."""
        return inventory(self.model)

    @cached_property
    def specs(self) -> dict[str, FormatSpec]:
        """Path -> format of what is quantized."""
        return {path: parse_spec(layer.format) for path, layer in self.manifest.layers.items()}

    @property
    def config(self) -> dict[str, Any]:
        """Its ``config.json``; a head that is stored apart is said to be no embedding."""
        config = read_json(self.folder / CONFIG)
        if self.unties:
            for own in (config, config.get("text_config")):
                if isinstance(own, dict):
                    own[TIED] = False
        return config

    @cached_property
    def unties(self) -> bool:
        """Whether a head is stored apart from the table of embeddings, as codes or as values."""
        known = self.inventory.weights.values()
        there = {*self.manifest.layers, *self.manifest.others}
        stored = [weight for weight in known if there & {weight.path, weight.stored_name}]
        heads = [weight for weight in stored if weight.apart == APART_HEAD]
        beside = {id(w.parameter) for w in stored if w.apart != APART_HEAD}
        return any(h.path in self.manifest.layers or id(h.parameter) in beside for h in heads)

    @cached_property
    def tied(self) -> dict[str, str]:
        """Name of a parameter -> the name that it is stored under, where that is another's."""
        places: dict[int, list[str]] = {}
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            places.setdefault(id(parameter), []).append(name)
        found: dict[str, str] = {}
        for names in places.values():
            stored = [name for name in names if name in self.manifest.others]
            found |= {name: stored[0] for name in names if stored and name not in stored}
        return found

    @property
    def identity(self) -> dict[str, str]:
        """The hash of every file."""
        return dict(self.manifest.sha256)

    def layer(self, path: str) -> QuantizedTensor:
        """Return the codes of a layer, read from its file.

        Raises:
            RequestError: arrays that do not fit the manifest.
        """
        own = self.manifest.layers[path]
        arrays: dict[str, np.ndarray] = {}
        for part in {*PARTS, *self.specs[path].arrays(own.shape)}:
            if (name := f"{path}.{part}") in self.files:
                arrays[name] = self._read(name, "np")
        return layer_of(path, own, arrays)

    def other(self, name: str) -> torch.Tensor:
        """Return a parameter that is not quantized, read from its file.

        Raises:
            RequestError: it is not there, of another type or shape than the manifest says, or with
                NaN or Inf.
        """
        if name not in self.files:
            raise RequestError(f"{self.folder}: lacks {name!r}")
        found: torch.Tensor = self._read(name, "pt")
        own = (str(found.dtype).removeprefix("torch."), tuple(found.shape))
        if own != self.manifest.others[name]:
            raise RequestError(
                f"{self.folder}: parameter {name!r} is {own}, the manifest says "
                f"{self.manifest.others[name]}"
            )
        if (place := first_not_finite(found)) is not None:
            raise RequestError(f"{self.folder}: parameter {name!r} holds NaN or Inf at {place}")
        return found

    def _read(self, name: str, kind: str) -> Any:  # noqa: ANN401  numpy's array or torch's tensor
        from safetensors import SafetensorError, safe_open

        path = self.folder / self.files[name]
        try:
            with safe_open(path, kind) as file:
                return file.get_tensor(name)
        except (SafetensorError, OSError, ValueError) as error:
            raise RequestError(f"{path}: tensor {name!r} cannot be read: {error}") from None


def open_finished(folder: Path) -> FinishedCheckpoint:
    """Return a quantized checkpoint folder after comparing every file's hash; no tensor is read.

    Raises:
        RequestError: no checkpoint that carries a config, files that are cut or changed, an
            architecture that transformers has not, or layers that are none of it.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder")
    if not is_checkpoint(folder):
        raise RequestError(
            f"{folder}: no quantized checkpoint with {CONFIG}: `quant quantize -o` writes one"
        )
    manifest = load_manifest(folder)
    for name, grid in manifest.grids.items():
        register_grid(folder, name, grid)
    opened = FinishedCheckpoint(folder, manifest, _on_meta(folder), _files(folder, manifest))
    weights = opened.inventory.weights
    for path, layer in manifest.layers.items():
        if path not in weights or weights[path].shape != layer.shape:
            has = weights[path].shape if path in weights else "no such layer"
            raise RequestError(f"{folder}: layer {path!r} is {layer.shape}, its model has {has}")
    if not manifest.layers:
        raise RequestError(f"{folder}: no quantized layer to export")
    return opened


def _on_meta(folder: Path) -> torch.nn.Module:
    import torch

    with torch.device("meta"):
        return empty_model(folder, torch.float32)


def _files(folder: Path, manifest: Manifest) -> dict[str, str]:
    from safetensors import SafetensorError, safe_open

    found: dict[str, str] = {}
    for name in manifest.sha256:
        if not name.endswith(".safetensors"):
            continue
        try:
            with safe_open(folder / name, "np") as file:
                names = list(file.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise RequestError(f"{folder / name}: not readable as safetensors: {error}") from None
        if twice := sorted(found.keys() & set(names)):
            raise RequestError(f"{folder / name}: {twice[0]!r} is in another file too")
        found |= dict.fromkeys(names, name)
    return found
