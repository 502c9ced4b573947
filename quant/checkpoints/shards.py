"""Safetensors checkpoints of Hugging Face, tensor by tensor: one file, or shards with an index."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from quant.common.errors import HwsimError, RequestError
from quant.common.files import sha256_of
from quant.common.progress import track
from quant.common.sealed import read_json

if TYPE_CHECKING:
    import torch

STORED_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32}
STORED_BITS |= {"F16": 16, "BF16": 16, "I16": 16, "U16": 16}
"""Of the data types of safetensors that take more than a byte."""
LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers")
WIDTHS = ("hidden_size", "intermediate_size", "vocab_size", "n_embd", "d_model")
"""Keys of a config that say how large a model is."""
FLOATS = ("F64", "F32", "F16", "BF16")
"""Data types of weights that are not quantized."""
WHOLE, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"


@dataclass(frozen=True)
class TensorInfo:
    """What the header of a file says of a tensor.

    Attributes:
        file: Name of the file.
        dtype: As safetensors spells it, such as ``BF16``.
        shape: Its lengths.
    """

    file: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Stored bytes."""
        return prod(self.shape) * STORED_BITS.get(self.dtype, 8) // 8


@dataclass(frozen=True)
class ShardedModel:
    """A folder of weights.

    Attributes:
        folder: Where it is.
        tensors: Name -> what its file says of it, in the order of the files.
        source_format: What its weights are codes of; empty: they are floats.
    """

    folder: Path
    tensors: Mapping[str, TensorInfo]
    source_format: str = field(default="", kw_only=True)

    def read(self, name: str) -> torch.Tensor:
        """Return one tensor; its file is closed again, so that none of it stays mapped.

        Raises:
            RequestError: the file is cut or damaged.
        """
        from safetensors import SafetensorError, safe_open

        path = self.folder / self.tensors[name].file
        try:
            with safe_open(path, "pt") as file:
                tensor: torch.Tensor = file.get_tensor(name).clone()
                return tensor
        except (SafetensorError, OSError, ValueError) as error:
            raise RequestError(f"{path}: tensor {name!r} cannot be read: {error}") from None

    @property
    def files(self) -> list[str]:
        """Names of the files, in order."""
        return sorted({tensor.file for tensor in self.tensors.values()})

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum((self.folder / name).stat().st_size for name in self.files)

    def states(self) -> dict[str, tuple[int, ...]]:
        """Return what changes with every write to a file: size, times, which file it is."""
        found = {name: (self.folder / name).stat() for name in self.files}
        return {
            name: (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
            for name, state in found.items()
        }

    def check_unchanged(self, before: Mapping[str, tuple[int, ...]]) -> None:
        """Raise a HwsimError unless all files are as they were: what was read is of one model."""
        changed = [name for name, state in self.states().items() if before[name] != state]
        if changed:
            raise HwsimError(f"{self.folder / changed[0]}: changed while it was read: run it again")

    def identity(self) -> dict[str, str]:
        """Return the SHA-256 of every file that says what the model is: weights, index, config."""
        also = [name for name in (INDEX, CONFIG) if (self.folder / name).is_file()]
        names = [*self.files, *also]
        return {name: sha256_of(self.folder / name) for name in track(names, "reading the source")}


def open_model(folder: Path) -> ShardedModel:
    """Return the tensors of a local folder; all files are looked into, none is read.

    Raises:
        RequestError: no safetensors, an index that is not readable, or that names a file or a
            tensor that is not there.
    """
    if not folder.is_dir():
        raise RequestError(f"{folder}: no such folder")
    check_one_set(folder)
    wanted = _index(folder / INDEX) if (folder / INDEX).is_file() else None
    if wanted is None and not (folder / WHOLE).is_file():
        raise RequestError(f"{folder}: neither {WHOLE} nor {INDEX}: nothing to quantize")
    names = dict.fromkeys([WHOLE] if wanted is None else wanted.values())
    tensors: dict[str, TensorInfo] = {}
    for name in names:
        if Path(name).name != name or not (folder / name).is_file():
            raise RequestError(f"{folder}: file {name!r} of the index is missing")
        found = _header(folder / name)
        if twice := sorted(found.keys() & tensors.keys()):
            other = tensors[twice[0]].file
            raise RequestError(f"{folder}: tensor {twice[0]!r} is in {other!r} and {name!r}")
        tensors |= found
    for key, name in (wanted or {}).items():
        if key not in tensors or tensors[key].file != name:
            raise RequestError(f"{folder}: tensor {key!r} of the index is in no such file")
    if wanted is not None and (more := sorted(tensors.keys() - wanted.keys())):
        raise RequestError(f"{folder}: tensor {more[0]!r} is not in {INDEX}")
    return ShardedModel(folder, tensors)


def check_one_set(folder: Path) -> None:
    """Raise a RequestError where a folder has two sets of weights: which one is meant?"""
    if (folder / WHOLE).is_file() and (folder / INDEX).is_file():
        raise RequestError(f"{folder}: both {WHOLE} and {INDEX}: remove the one that is not meant")


def check_stored(opened: ShardedModel) -> int:
    """Compare a model's files with its config as far as headers go; return the stored weights.

    Raises:
        RequestError: weights that are stored as integers, or a config of more layers than there
            are tensors, or of larger ones: building such a model would take all memory.
    """
    folder, tensors = opened.folder, opened.tensors
    config = read_json(folder / CONFIG)
    elements = [prod(tensor.shape) for tensor in tensors.values()]
    most = dict.fromkeys(LAYERS, (len(tensors), "tensors"))
    most |= dict.fromkeys(WIDTHS, (max(elements, default=0), "numbers in the largest tensor"))
    for key, (limit, what) in most.items():
        for settings in (config, config.get("text_config")):
            value = settings.get(key) if isinstance(settings, dict) else None
            if isinstance(value, int) and value > limit:
                raise RequestError(
                    f"{folder / CONFIG}: {key} {value:.6g}: its files have {limit} {what}"
                )
    for name, tensor in tensors.items():
        if name.endswith((".weight", ".bias")) and tensor.dtype not in FLOATS:
            raise RequestError(
                f"{folder / tensor.file}: tensor {name!r} is {tensor.dtype}: "
                f"{', '.join(FLOATS)} are weights"
            )
    return sum(elements)


def _index(path: Path) -> dict[str, str]:
    names = read_json(path).get("weight_map")
    if not isinstance(names, dict) or not all(isinstance(v, str) for v in names.values()):
        raise RequestError(f"{path}: weight_map is no table of file names")
    return names


def _header(path: Path) -> dict[str, TensorInfo]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  no mapping
            return {
                name: TensorInfo(path.name, part.get_dtype(), tuple(part.get_shape()))
                for name, part in slices.items()
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise RequestError(f"{path}: not readable as safetensors: {error}") from None
