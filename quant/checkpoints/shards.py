"""Safetensors checkpoints of Hugging Face, tensor by tensor: one file, or shards with an index."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant.common.errors import RequestError

if TYPE_CHECKING:
    import torch

WHOLE, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
# What is a matrix in a file and no layer in the model, by the names in use.
_NO_LAYERS = ("embed", "wte", "wpe", "norm", "position")


@dataclass(frozen=True)
class ShardedModel:
    """A folder of weights.

    Attributes:
        folder: Where it is.
        files: Tensor -> name of its file, in the order of the files.
    """

    folder: Path
    files: Mapping[str, str]

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor; its file is closed again, so that none of it stays mapped.

        Raises:
            RequestError: the file is cut or damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / self.files[name]
        try:
            with safe_open(path, "pt") as file:
                tensor: torch.Tensor = file.get_tensor(name).clone()
                return tensor
        except (SafetensorError, OSError, ValueError) as error:
            raise RequestError(f"{path}: tensor {name!r} cannot be read: {error}") from None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum((self.folder / name).stat().st_size for name in set(self.files.values()))

    def identity(self) -> dict[str, list[int]]:
        """Return size and time of change of every file: a copy of it that was changed differs."""
        stats = {name: (self.folder / name).stat() for name in sorted(set(self.files.values()))}
        return {name: [stat.st_size, stat.st_mtime_ns] for name, stat in stats.items()}


def open_model(folder: Path) -> ShardedModel:
    """Return the tensors of a local folder; all files are looked into, none is read.

    Raises:
        RequestError: no safetensors, an index that is not readable, or that names a file or a
            tensor that is not there.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder")
    wanted = _index(folder / INDEX) if (folder / INDEX).is_file() else None
    if wanted is None and not (folder / WHOLE).is_file():
        raise RequestError(f"{folder}: neither {WHOLE} nor {INDEX}: nothing to quantize")
    names = dict.fromkeys([WHOLE] if wanted is None else wanted.values())
    files: dict[str, str] = {}
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise RequestError(f"{folder}: file {name!r} of the index is missing")
        files |= dict.fromkeys(_keys(folder / name), name)
    missing = [key for key, name in (wanted or {}).items() if files.get(key) != name]
    if missing:
        raise RequestError(f"{folder}: tensor {missing[0]!r} of the index is in no such file")
    return ShardedModel(folder, files)


def linear_weights(model: ShardedModel) -> dict[str, bool]:
    """Return the module paths of linear layers, and whether each is stored transposed.

    From the architecture that ``config.json`` names, built without weights (no code of the
    model's own is run); without one, matrices whose names are not those of embeddings or norms.
    """
    paths = {name.removesuffix(".weight") for name in model.files if name.endswith(".weight")}
    if not (model.folder / CONFIG).is_file():
        named = [path for path in sorted(paths) if not any(part in path for part in _NO_LAYERS)]
        return dict.fromkeys((p for p in named if _dimensions(model, f"{p}.weight") == 2), False)
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from quant.layers.matrices import is_transposed, linear_layers

    try:
        config = AutoConfig.from_pretrained(model.folder, local_files_only=True)
        with torch.device("meta"):
            skeleton = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RequestError(f"{model.folder / CONFIG}: no known language model: {error}") from None
    layers = linear_layers(skeleton)
    stored = {path: is_transposed(layer) for path, layer in layers.items() if path in paths}
    if not stored:
        raise RequestError(f"{model.folder}: no tensor has the name of a linear layer of its model")
    return stored


def _dimensions(model: ShardedModel, name: str) -> int:
    from safetensors import safe_open

    with safe_open(model.folder / model.files[name], "pt") as file:
        return len(file.get_slice(name).get_shape())


def _index(path: Path) -> dict[str, str]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        names = data["weight_map"]
        if not isinstance(names, dict) or not all(isinstance(v, str) for v in names.values()):
            raise TypeError("weight_map is no table of file names")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RequestError(f"{path}: not a readable index: {error}") from None
    return names


def _keys(path: Path) -> Iterable[str]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            return list(file.keys())
    except (SafetensorError, OSError, ValueError) as error:
        raise RequestError(f"{path}: not readable as safetensors: {error}") from None
