"""Edges that read folders of Hugging Face, which have no seal.

One is refused, or all of its tensors are loaded with just the values that are in its files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from verification.reliability.containers import safetensors_values
from verification.reliability.folders import (
    INDEX,
    WHOLE,
    damaged,
    packed,
    read_files,
    unpacked,
    write_files,
)
from verification.reliability.fuzz_edge import Edge, Target, WrongAcceptance

if TYPE_CHECKING:
    import torch

Tensors = Mapping[str, "torch.Tensor"]
FORMAT = "int4:g8"
NO_FILE = (ValueError, KeyError, TypeError, RuntimeError, AttributeError)


def hub_folder(folder: Path) -> Target:
    """A folder of Hugging Face, loaded: refused, or all tensors with the values of its files."""

    def use(place: Path) -> bool:
        import quant

        model, _ = quant.load_model(str(place))
        _check_loaded(place, model.state_dict(keep_vars=True))
        return True

    return _of_hub_folder(folder, use)


def streamed(folder: Path) -> Target:
    """A folder of Hugging Face, quantized tensor by tensor: refused, or just its tensors."""
    out = folder / "out"

    def use(place: Path) -> bool:
        import quant
        from quant.checkpoints.folder import load_quantized, load_rest
        from quant.checkpoints.stream import quantize_checkpoint

        shutil.rmtree(out, ignore_errors=True)
        quantize_checkpoint(place, out, FORMAT)
        codes, found = load_quantized(out), dict(load_rest(out))
        for values in _views(place):
            if values.keys() == {*found, *(f"{path}.weight" for path in codes)} and all(
                _same_codes(quant.quantize(values[f"{path}.weight"].float().numpy(), FORMAT), code)
                for path, code in codes.items()
            ):
                return _equal(values, found, found)
        raise WrongAcceptance("the checkpoint's tensors are not those of the folder")

    return _of_hub_folder(folder, use)


EDGES = (
    Edge("hub folder", 160, hub_folder, ".z"),
    Edge("streamed", 40, streamed, ".z"),
)


def _of_hub_folder(folder: Path, use: Callable[[Path], bool]) -> Target:
    """A model in one file or in shards; an input says which, and what was changed in it."""
    from tests.own.tiny_llama import tiny_llama

    tiny_llama(folder / "whole", hidden=8, layers=2, positions=32)
    _shard(folder / "whole", folder / "shards")
    seeds = {name: read_files(folder / name) for name in ("whole", "shards")}
    place = folder / "case"

    def made(rng: Random) -> bytes:
        name = rng.choice(list(seeds))
        return packed({"": name.encode(), **damaged(rng, seeds[name])})

    def accepts(data: bytes) -> bool:
        changes = unpacked(data)
        write_files(place, {**seeds[(changes.pop("") or b"").decode()], **changes})
        return use(place)

    return Target(tuple(packed({"": name.encode()}) for name in seeds), made, accepts)


def _shard(source: Path, target: Path) -> None:
    """Write a model in two files with an index."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(source, target)
    tensors = load_file(target / WHOLE)
    (target / WHOLE).unlink()
    where: dict[str, str] = {}
    for number in (1, 2):
        file = f"model-0000{number}-of-00002.safetensors"
        part = {
            name: value for i, (name, value) in enumerate(tensors.items()) if i % 2 == number - 1
        }
        save_file(part, target / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    size = sum(value.nbytes for value in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": where}
    (target / INDEX).write_text(json.dumps(index, indent=1))


def _views(place: Path) -> list[dict[str, torch.Tensor]]:
    """What the weights of a folder are: as its one file says, and as its index says."""
    found: list[dict[str, torch.Tensor]] = []
    if (place / WHOLE).is_file():
        with suppress(*NO_FILE):
            found.append(safetensors_values((place / WHOLE).read_bytes()))
    if (place / INDEX).is_file():
        values: dict[str, torch.Tensor] = {}
        with suppress(*NO_FILE, OSError):
            for file in set(json.loads((place / INDEX).read_bytes())["weight_map"].values()):
                values |= safetensors_values((place / file).read_bytes())
            found.append(values)
    return found


def _check_loaded(place: Path, state: Tensors) -> None:
    """Raise WrongAcceptance unless a model holds just what a folder's files say."""
    loaded = {_short(name): value.detach() for name, value in state.items()}
    by_place = {value.data_ptr(): name for name, value in loaded.items()}
    own = set(by_place.values())  # tied ones count once
    odd: list[str] = []
    for view in _views(place):
        values = {_short(name): value for name, value in view.items()}
        names = {by_place[loaded[name].data_ptr()] for name in values if name in loaded}
        odd = sorted(values.keys() - loaded.keys()) + sorted(own - names)
        if not odd and len(values) == len(view) and _equal(values, loaded, values):
            return
    raise WrongAcceptance(f"the model's tensors are not those of the folder: {odd[:4]}")


def _short(name: str) -> str:
    """A tensor's name without ``model.``, which transformers adds and takes away."""
    while name.startswith("model."):
        name = name.removeprefix("model.")
    return name


def _equal(values: Tensors, loaded: Tensors, names: Mapping[str, object]) -> bool:
    """Whether tensors have the same values, as float32, and the same shapes."""
    import torch

    pairs = [(values[name].to(torch.float32), loaded[name].to(torch.float32)) for name in names]
    if all(a.shape == b.shape and torch.equal(a, b) for a, b in pairs):
        return True
    raise WrongAcceptance("a tensor has other values than its file")


def _same_codes(one: object, other: object) -> bool:
    from quant.checkpoints.folder import content_hash
    from quant.tensors.tensor import QuantizedTensor

    assert isinstance(one, QuantizedTensor)
    assert isinstance(other, QuantizedTensor)
    return content_hash({"": one}, {}) == content_hash({"": other}, {})
