"""A model folder as runtimes read it: safetensors with an index, config, tokenizer."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from quant.checkpoints.finished import FinishedCheckpoint
from quant.checkpoints.published import Published
from quant.checkpoints.quantized_sources import STATED
from quant.checkpoints.runnable import copy_assets
from quant.checkpoints.shards import CONFIG, INDEX, WHOLE
from quant.common.errors import HwsimError, RequestError
from quant.common.sealed import read_json
from quant.layers.kinds import APART_HEAD
from quant.layers.ties import TIED, reads_flag
from quant.layers.weights import Weight
from quant.tensors.values import cast_floats

if TYPE_CHECKING:
    import torch

SHARD_BYTES = 5 << 30
Named: TypeAlias = "Iterator[tuple[str, torch.Tensor]]"


@dataclass(frozen=True)
class ExportOptions:
    """What else is asked for.

    Attributes:
        activations: How the runtime rounds inputs: ``none``, ``dynamic``, ``static``.
        ranges: Gives path -> the largest input of a layer, where a scale of inputs is stored.
        ranged_by: What the ranges come from.
        rest_dtype: What is not quantized is stored as this type; empty: as it is.
        shard_bytes: Size from which a file is full.
    """

    activations: str = "none"
    ranges: Callable[[], Mapping[str, float]] = dict
    ranged_by: Mapping[str, Any] = field(default_factory=dict)
    rest_dtype: str = ""
    shard_bytes: int = SHARD_BYTES

    @property
    def facts(self) -> dict[str, Any]:
        """What a result depends on."""
        return {key: value for key, value in vars(self).items() if key != "ranges"}


@dataclass(frozen=True)
class Prepared:
    """An export that nothing is wrong with.

    Attributes:
        said: Layers by what they are stored as, in a line.
        write: Takes a folder, writes the files, returns their names.
    """

    said: str
    write: Callable[[Path], list[str]]


Target: TypeAlias = Callable[[FinishedCheckpoint, ExportOptions], Prepared]
Pack: TypeAlias = "Callable[[str], Mapping[str, torch.Tensor]]"
"""Takes a published module, gives what is stored of it, by the names of the layout."""


def write_hub_folder(
    folder: Path, names: Published, pack: Pack, stated: Mapping[str, Any], options: ExportOptions
) -> list[str]:
    """Write a model folder; return the names of its files.

    Args:
        folder: Where.
        names: What is published under which name.
        pack: Gives the tensors of a quantized module.
        stated: The ``quantization_config``.
        options: Type of the rest, size of shards.
    """
    opened = names.opened
    files = write_shards(folder, _tensors(names, pack, options.rest_dtype), options.shard_bytes)
    files += copy_assets(opened.folder, folder)
    config = {**opened.config, STATED: dict(stated)}
    if kind := options.rest_dtype or _usual_dtype(opened):
        config |= {key: kind for key in ("dtype", "torch_dtype") if key in config} or {
            "dtype": kind
        }
    text = json.dumps(config, indent=2)
    (folder / CONFIG).write_text(f"{text}\n", encoding="utf-8")
    return files


def write_shards(folder: Path, tensors: Named, limit: int) -> list[str]:
    """Write tensors to one file, or to several with an index; return the names of the files.

    Args:
        folder: Where.
        tensors: Names and values, in order.
        limit: Bytes from which a file is full.
    """
    places: dict[str, int] = {}
    held: dict[str, torch.Tensor] = {}
    size = total = count = 0
    for name, value in tensors:
        held[name] = value.contiguous()
        size += value.numel() * value.element_size()
        if size >= limit:
            places |= dict.fromkeys(held, count)
            _save(folder / f"{count}.safetensors", held)
            held, total, size, count = {}, total + size, 0, count + 1
    if held or not count:
        places |= dict.fromkeys(held, count)
        _save(folder / f"{count}.safetensors", held)
        total, count = total + size, count + 1
    made = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    made = made if count > 1 else [WHOLE]
    for index, name in enumerate(made):
        (folder / f"{index}.safetensors").rename(folder / name)
    if count == 1:
        return made
    files = {name: made[place] for name, place in places.items()}
    index_of = {"metadata": {"total_size": total}, "weight_map": files}
    (folder / INDEX).write_text(json.dumps(index_of, indent=1), encoding="utf-8")
    return [*made, INDEX]


def linear_weight(opened: FinishedCheckpoint, path: str, target: str) -> Weight:
    """Return a quantized layer that runtimes know as a linear one.

    Raises:
        RequestError: it is of another kind, shared by modules that are not one, or a head that its
            model cannot have apart from the embeddings.
    """
    from torch import nn

    weight = opened.inventory.weights[path]
    kind = type(weight.module).__name__
    if not weight.layout.is_stack and not isinstance(weight.module, nn.Linear):
        raise RequestError(
            f"layer {path}: {opened.specs[path]} of a {kind} has no place in {target} (allowed: "
            "linear layers and experts)"
        )
    if len({owner.module for owner in weight.owners}) > 1:
        others = ", ".join(owner.path for owner in weight.owners[1:])
        raise RequestError(f"layer {path}: it is shared with {others}, which {target} has not")
    tied = weight.apart == APART_HEAD and read_json(opened.folder / CONFIG).get(TIED)
    if tied and reads_flag(opened.model):
        model = type(opened.model).__name__
        raise RequestError(
            f"layer {path}: codes of a head need {TIED} = false, where {model} computes otherwise: "
            f"{target} cannot hold them (leave the head as it is)"
        )
    return weight


def need_no_activations(options: ExportOptions, target: str) -> None:
    """Raise a RequestError where rounded inputs are asked of a layout that knows none."""
    if options.activations != ExportOptions.activations:
        raise RequestError(
            f"activations (--inputs) {options.activations!r}: {target} rounds none (allowed: "
            f"{ExportOptions.activations})"
        )


def counted(kinds: Iterable[str]) -> str:
    """Return how often each of some names occurs, in a line."""
    return ", ".join(f"{count} as {name}" for name, count in Counter(kinds).items())


def _tensors(names: Published, pack: Pack, dtype: str) -> Named:
    for module in names.layers:
        yield from ((f"{module}.{part}", value) for part, value in pack(module).items())
    for name in names.others:
        yield from cast_floats({name: names.other(name)}, dtype).items()
    if not names.opened.unties:
        return
    # A config that says that the head is apart ties nothing else either: each name has its values.
    for name, parts in names.segments.items():
        whole = [part.name for part in parts if part.place is None and part.rows is None]
        is_layer = name.removesuffix(".weight") in names.layers
        if len(whole) == len(parts) == 1 and not is_layer and whole[0] in names.opened.tied:
            value = names.opened.other(names.opened.tied[whole[0]])
            yield from cast_floats({name: value}, dtype).items()


def _usual_dtype(opened: FinishedCheckpoint) -> str:
    """The type of most matrices that are not quantized, or of most numbers."""
    from math import prod

    sizes: Counter[str] = Counter()
    for kind, shape in opened.manifest.others.values():
        if "float" in kind:
            sizes[kind] += prod(shape)
    return sizes.most_common(1)[0][0] if sizes else ""


def _save(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    try:
        save_file(dict(tensors), path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise HwsimError(f"{path}: cannot be written: {error}") from None
