"""Files that are whole or absent: atomic writes, checked hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quant.common.errors import RequestError


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it only if the block succeeds.

    The file is flushed to the disk before the rename, so that a killed run or a full disk leaves
    either the old file or the new one, never half of one. What is no file, such as ``/dev/stdout``
    or a pipe, is yielded itself: nothing may take its place.
    """
    if target.is_dir():
        raise RequestError(f"{target} is a folder: the name of a file is needed")
    if target.exists() and not target.is_file():
        yield target
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield a temporary folder beside ``target`` that takes its place only if the block succeeds.

    An older ``target`` is replaced as a whole.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        replace_folder(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(target: Path, marker: str) -> None:
    """Raise a RequestError unless ``target`` may be replaced: absent, empty, or with ``marker``."""
    if target.exists() and not target.is_dir():
        raise RequestError(f"{target} is a file: the name of a folder is needed")
    if target.is_dir() and any(target.iterdir()) and not (target / marker).is_file():
        raise RequestError(f"{target} holds other files (no {marker}): choose another folder")


def replace_folder(ready: Path, target: Path) -> None:
    """Rename a folder to ``target`` beside it; an older ``target`` is removed as a whole."""
    if target.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        target.replace(old / "old")
        ready.replace(target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        ready.replace(target)


def write_text(target: Path, text: str) -> None:
    """Write ``text`` to ``target`` atomically, as UTF-8."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
