"""One writer at a time: locks on files and folders that end with the process that holds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from quant.common.errors import HwsimError
from quant.common.progress import say

try:
    import fcntl
except ImportError:  # pragma: no cover  not a POSIX system: nothing excludes a second run
    fcntl = None  # type: ignore[assignment]


@contextmanager
def locked_file(path: Path) -> Iterator[Path]:
    """Create or take over a file for one writer, who waits for an earlier one; yield its path.

    It is empty, of the ordinary mode, and may be renamed or removed by the one who holds it.
    """
    while True:
        # A link of that name leads to what is somebody else's: it is refused by the system.
        number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        _take(number, wait=True)
        if _is(number, path):
            break
        os.close(number)  # the one before renamed it in the meantime
    try:
        os.ftruncate(number, 0)
        yield path
    finally:
        os.close(number)


@contextmanager
def locked_folder(path: Path, what: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder, made if it is not there, for one process.

    Args:
        path: The folder.
        what: What it is held for, for the messages.
        wait: Wait for another process that holds it, saying so; else raise.

    Raises:
        HwsimError: another process holds it.
    """
    number = _held(path, what, wait=wait)
    try:
        yield
    finally:
        os.close(number)


def _held(path: Path, what: Path, *, wait: bool) -> int:
    while True:
        path.mkdir(parents=True, exist_ok=True)
        try:
            number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:  # renamed by the one before
            continue
        if not _take(number, wait=False):
            if not wait:
                os.close(number)
                raise HwsimError(
                    f"{what}: another run is writing there: wait for its end, or choose another "
                    "place"
                )
            say(f"waiting for another run that is making {what} ...")
            _take(number, wait=True)
        if _is(number, path):
            return number
        os.close(number)


def _take(number: int, *, wait: bool) -> bool:
    """Lock an open file; False where another process holds it. Without locks, nothing is held."""
    if fcntl is None:  # pragma: no cover
        return True
    try:
        fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:  # a network file system without locks
        say(f"no lock can be held here ({error.strerror}): run nothing else into the same place")
    return True


def _is(number: int, path: Path) -> bool:
    """Whether an open file is still the one of that name."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    own = os.fstat(number)
    return (own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)
