"""The manifest of a folder that we wrote: what it holds, for which request, with every hash.

``manifest.json`` is sealed JSON (``quant.common.sealed``): ``schema`` (name and version of the kind
of folder), ``request`` (what it was made for), ``sha256`` (file -> hash), and what the kind adds.
A folder is ours if it has one of a schema of ours, whatever else is in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quant.common.errors import RequestError
from quant.common.files import sha256_of
from quant.common.sealed import read_json, read_sealed

MANIFEST = "manifest.json"


def manifest_of(
    schema: str, request: Mapping[str, Any], hashes: Mapping[str, str], content: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the content of a manifest, in the order in which it is written."""
    return {"schema": schema, "request": request, **content, "sha256": dict(hashes)}


def read_sealed_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a folder after comparing its seal; its files are not looked at.

    Raises:
        RequestError: no manifest, or one that was changed.
    """
    path = folder / MANIFEST
    found = read_sealed(path)
    if not isinstance(found.get("schema"), str) or not isinstance(found.get("sha256"), dict):
        raise RequestError(f"{path}: no manifest of ours: schema and sha256 are needed")
    return found


def whole_manifest(folder: Path, *, others: bool = True) -> dict[str, Any]:
    """Return the manifest of a folder after comparing its seal and the hash of every file.

    Args:
        folder: What was written.
        others: Allow files that the manifest does not list.

    Raises:
        RequestError: no manifest, one that was changed, a file outside of the folder, missing, cut
            or changed, or one that is not listed.
    """
    found = read_sealed_manifest(folder)
    for name, expected in found["sha256"].items():
        file = folder / name
        inside = not Path(name).is_absolute() and ".." not in Path(name).parts and "\0" not in name
        if not inside or not file.is_file():
            raise RequestError(f"{folder}: file {name!r} of the manifest is missing")
        if (actual := sha256_of(file)) != expected:
            raise RequestError(
                f"{file}: damaged: SHA-256 is {actual}, the manifest says {expected}"
            )
    if not others:
        listed_too = {MANIFEST, *found["sha256"]}
        for file in sorted(folder.rglob("*")):
            if not file.is_dir() and file.relative_to(folder).as_posix() not in listed_too:
                raise RequestError(f"{file}: not of the folder: its manifest does not list it")
    return found


def is_ours(folder: Path, schema: str) -> bool:
    """Return whether a folder has a manifest of a kind of ours, in any version, whole or not."""
    try:
        found = read_json(folder / MANIFEST).get("schema")
    except RequestError:
        return False
    return isinstance(found, str) and found.partition("/")[0].startswith(schema.partition("/")[0])


def listed(folder: Path) -> list[str]:
    """Return the files of a folder that its manifest lists, itself included; none without one."""
    try:
        hashes = read_json(folder / MANIFEST).get("sha256")
    except RequestError:
        return []
    return [MANIFEST, *(hashes if isinstance(hashes, dict) else ())]


def normal(facts: Any) -> Any:  # noqa: ANN401  whatever JSON can hold
    """Return facts as they are after being written and read again."""
    return json.loads(json.dumps(facts, allow_nan=False))


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the keys in which two requests differ, as words."""
    keys = [key for key in {**one, **other} if one.get(key) != other.get(key)]
    return ", ".join(keys) or "nothing that it names"
