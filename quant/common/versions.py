"""What a result depends on beside its inputs: versions of libraries, and our own code."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import os
from functools import cache
from pathlib import Path

LIBRARIES = (
    "gguf",
    "numba",
    "numpy",
    "safetensors",
    "scipy",
    "tokenizers",
    "torch",
    "transformers",
)
"""Those that compute, or read what is computed with."""
ROOT = Path(__file__).parent.parent
WHOLE = (ROOT.name,)
"""Folders of our code: the package ``quant``."""
ROUNDING = tuple(f"{ROOT.name}/{room}" for room in ("formats", "layers", "rounding", "tensors"))
"""Rooms whose code turns weights into codes and codes into weights."""


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that compute, of those that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def own_code(folders: tuple[str, ...] = WHOLE) -> str:
    """Return a hash over the names and contents of all modules of some folders of ours."""
    whole = hashlib.sha256()
    for folder in folders:
        for path in sorted((ROOT.parent / folder).rglob("*.py")):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{path.relative_to(ROOT.parent).as_posix()} {content}\n".encode())
    return whole.hexdigest()


def code_of(thing: object) -> str | None:
    """Return the hash of the file that defines an object of the user's; None: it is one of ours."""
    kind = type(thing)
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return None
    try:
        return hashlib.sha256(Path(inspect.getfile(kind)).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return f"unknown, of process {os.getpid()}"  # typed in: no other run can be known to match


def made_by(folders: tuple[str, ...] = WHOLE) -> dict[str, object]:
    """Return what another version of would make a request another one."""
    return {"libraries": library_versions(), "code": own_code(folders)}
