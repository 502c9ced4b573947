"""Folders as inputs: which of their files are damaged, taken away or exchanged, in one value."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from random import Random

from verification.reliability.containers import mutated_safetensors
from verification.reliability.mutations import mutated_bytes, mutated_json, mutated_text

Files = dict[str, bytes]
WHOLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def damaged(rng: Random, files: Files) -> dict[str, bytes | None]:
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


def read_files(place: Path) -> Files:
    """Return the files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(place.iterdir()) if path.is_file()}


def write_files(place: Path, files: Mapping[str, bytes | None]) -> None:
    """Make a folder hold just these files."""
    place.mkdir(exist_ok=True)
    there = read_files(place)
    for name in there.keys() - {name for name, data in files.items() if data is not None}:
        (place / name).unlink()
    for name, data in files.items():
        if data is not None and there.get(name) != data:
            (place / name).write_bytes(data)


def packed(changes: Mapping[str, bytes | None]) -> bytes:
    """Files by name in one input; None: the file is taken away."""
    coded = {n: None if d is None else base64.b64encode(d).decode() for n, d in changes.items()}
    return zlib.compress(json.dumps(coded).encode(), 9)


def unpacked(data: bytes) -> dict[str, bytes | None]:
    """Return the files that ``packed`` put into one input."""
    coded = json.loads(zlib.decompress(data))
    return {name: None if text is None else base64.b64decode(text) for name, text in coded.items()}
