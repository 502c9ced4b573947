"""Folders that are whole or absent: exchanged by one rename, other people's files kept."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from quant.common.errors import RequestError
from quant.common.files import sync
from quant.common.locks import locked_folder
from quant.common.manifest import MANIFEST, is_ours
from quant.common.progress import say

EXCHANGE = 2
"""RENAME_EXCHANGE of Linux's ``renameat2`` and RENAME_SWAP of macOS' ``renamex_np``."""
_HERE = -100  # AT_FDCWD
_NOT_OFFERED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)


def put_in_place(ready: Path, target: Path, listed: Iterable[str]) -> None:
    """Let a finished folder take the name ``target``, in one rename.

    Args:
        ready: Beside it, on the same disk; gone afterwards.
        target: Absent, or an older folder.
        listed: Files of the older folder that are given up, relative; all others move on to the
            new one.

    Raises:
        RequestError: a file that is not listed stands where the new folder has one.
    """
    if not target.is_dir():
        sync_tree(ready)
        ready.rename(target)
        sync(target.parent)
        return
    given_up = set(listed)
    carried = carry_over(target, ready, given_up)
    sync_tree(ready)
    ready.chmod(target.stat().st_mode & 0o7777)
    # It becomes ``ready``, which nobody may take in the meantime.
    with locked_folder(target, target, wait=True):
        exchange(ready, target)
        sync(target.parent)
        _move_late(ready, target, given_up | carried)
        remove_folder(ready, (MANIFEST,))


def remove_folder(folder: Path, last: Sequence[str] = ()) -> None:
    """Remove a folder; the files named go at last, so that it says whose it is until it is empty.

    Raises:
        OSError: something in it cannot be removed.
    """
    if not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name not in last:
            path.unlink()
    for name in last:
        (folder / name).unlink(missing_ok=True)
    folder.rmdir()


def carry_over(old: Path, new: Path, listed: Collection[str]) -> set[str]:
    """Give the new folder all files of the old one that are not listed, as links to the same.

    Returns:
        Their names.

    Raises:
        RequestError: the new folder has another file of that name.
    """
    carried = set()
    for path in sorted(old.rglob("*")):
        name = path.relative_to(old).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()) and not (new / name).exists():
                (new / name).mkdir(parents=True)
            continue
        if name in listed:
            continue
        place = new / name
        if os.path.lexists(place) or any((new / p).is_file() for p in Path(name).parents):
            raise RequestError(
                f"{path} is not ours, and the result has a file of that name: move it away"
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(path, place, follow_symlinks=False)
        except OSError:  # a disk without hard links
            shutil.copy2(path, place, follow_symlinks=False)
        carried.add(name)
    return carried


def _move_late(old: Path, new: Path, known: Collection[str]) -> None:
    """Let files follow that somebody wrote into the old folder while it was being replaced."""
    for path in sorted(old.rglob("*")):
        name = path.relative_to(old).as_posix()
        if name in known or (path.is_dir() and not path.is_symlink()):
            continue
        if os.path.lexists(new / name):
            say(f"{path}: kept there: {new} has a file of that name")
            raise FileExistsError(f"{path} is in the way")
        (new / name).parent.mkdir(parents=True, exist_ok=True)
        path.rename(new / name)


def exchange(one: Path, other: Path) -> None:
    """Let two folders change names, at once where the system can.

    Where it cannot, ``other`` is absent for a moment; ``recover`` mends it if a kill falls there.
    """
    sys.audit("os.rename", str(one), str(other), -1, -1)  # what ctypes calls, nobody hears of
    number = _exchange(os.fsencode(one), os.fsencode(other))
    if number in _NOT_OFFERED:
        aside = _aside(other)
        other.rename(aside)
        one.rename(other)
        aside.rename(one)
    elif number:
        raise OSError(number, os.strerror(number), str(other))


def recover(target: Path) -> None:
    """Put an older folder of ours back that a kill in the middle of ``exchange`` left aside.

    Only for the one who holds the place.
    """
    aside = _aside(target)
    if not aside.is_dir() or not is_ours(aside, "hwsim"):
        return
    if target.exists():
        remove_folder(aside, (MANIFEST,))
    else:
        aside.rename(target)


def sync_tree(folder: Path) -> None:
    """Flush all files of a folder, and its names, to the disk; give them one ordinary mode.

    Some writers make files that only their owner can read: they get the bits of the folder.
    """
    readable = folder.stat().st_mode & 0o666
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            continue
        if path.is_dir():
            sync(path)
        elif path.is_file() and path.stat().st_nlink == 1:  # what was carried over is as it was
            path.chmod(path.stat().st_mode & 0o7111 | readable)
            sync(path)
    sync(folder)


def _exchange(one: bytes, other: bytes) -> int:
    """Call the system's exchange; return 0 or its error."""
    library = ctypes.CDLL(None, use_errno=True)
    if hasattr(library, "renameat2"):
        failed = library.renameat2(_HERE, one, _HERE, other, EXCHANGE)
    elif hasattr(library, "renamex_np"):
        failed = library.renamex_np(one, other, EXCHANGE)
    else:
        return errno.ENOSYS
    return ctypes.get_errno() if failed else 0


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.aside")
