"""Files that are whole or absent: atomic writes, streams written through, hashes."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quant.common.errors import RequestError
from quant.common.locks import locked_file

STREAMS = tuple(map(Path, ("/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc")))
"""What a path leads to through these is open already: it is written to, never replaced. Other files
below ``/dev``, such as those of ``/dev/shm``, are as files elsewhere."""
PART = ".hwsim-part"
"""Ends the name of a file that is being made, after a dot and its name: nobody else's has it."""
MOST_LINKS = 40
"""As many as the kernel follows."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` that replaces it only if the block succeeds.

    The file is flushed to the disk before the rename and its folder after it, so that a killed run
    or a full disk leaves either the old file or the new one, never half of one; what a killed run
    leaves beside it (``.NAME.hwsim-part``) is taken over by the next. A new file has the ordinary
    mode (umask), an older one keeps its own. A link stays: what it leads to is replaced. A device,
    a FIFO or an open stream (``/dev/stdout``) is written to when the block has succeeded.

    Raises:
        RequestError: the target is a folder.
    """
    if target.is_dir():
        raise RequestError(f"{target} is a folder: the name of a file is needed")
    if is_stream(target):
        with tempfile.TemporaryDirectory() as folder:
            ready = Path(folder) / (target.name or "out")
            yield ready
            _pour(ready, target)
        return
    final = Path(os.path.realpath(target))
    final.parent.mkdir(parents=True, exist_ok=True)
    with locked_file(final.with_name(f".{final.name}{PART}")) as part:
        try:
            yield part
            if final.exists():
                part.chmod(final.stat().st_mode & 0o7777)
            sync(part)
            part.replace(final)
        finally:
            part.unlink(missing_ok=True)
    sync(final.parent)


def part_of(final: Path) -> Path:
    """Return where a folder is made before it takes its name: beside it, hidden."""
    return final.with_name(f".{final.name}.part")


def is_stream(path: Path) -> bool:
    """Return whether a path is, or leads to, what nothing may take the place of."""
    if path.exists() and not path.is_file() and not path.is_dir():
        return True
    step = path.absolute()
    for _ in range(MOST_LINKS):
        if any(step.is_relative_to(folder) for folder in STREAMS):
            return path.exists()
        if not step.is_symlink():
            break
        step = Path(os.path.normpath(step.parent / step.readlink()))
    return False


def sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk.

    Raises:
        OSError: the disk did not take it.
    """
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write_text(target: Path, text: str) -> None:
    """Write ``text`` to ``target`` atomically, as UTF-8."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _pour(ready: Path, stream: Path) -> None:
    """Write a file's content to a stream; at the end of what a redirection wrote before."""
    number = os.open(stream, os.O_WRONLY | os.O_APPEND)
    with os.fdopen(number, "wb") as out, ready.open("rb") as source:
        shutil.copyfileobj(source, out)
