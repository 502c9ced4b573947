"""Where downloaded and derived files are kept between runs."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from quant.common.errors import HwsimError

VARIABLE = "HWSIM_CACHE"
INSTEAD = (
    "nothing can be kept in {wanted}; {instead} is the cache: set HWSIM_CACHE to a folder that "
    "may be written"
)
CACHES = {
    "HF_HOME": ("XDG_CACHE_HOME", ".cache", "huggingface"),
    "MPLCONFIGDIR": ("XDG_CONFIG_HOME", ".config", "matplotlib"),
}
"""Variable that places a library's cache: variable of the folder above, that folder in the home
without it, and the library's name there."""


def cache_dir() -> Path:
    """Return the cache folder: ``$HWSIM_CACHE`` if set, else the platform's user cache.

    Where there is no such folder and none can be made (no home, or one that is not writable), it is
    a folder of the user's own in the folder of temporary files; a line says so, once.

    Raises:
        HwsimError: there is no place for that either.
    """
    folder, line = _place()
    if line:
        say_once(line)
    return folder


def _place() -> tuple[Path, str]:
    """The cache folder, and what is to be said of it."""
    override = os.environ.get(VARIABLE)
    if override:
        return Path(override), ""
    import platformdirs

    try:
        wanted = Path(platformdirs.user_cache_dir("hwsim"))
    except RuntimeError:  # no home is known
        wanted = Path("~/.cache/hwsim")
    if wanted.is_absolute() and (_is_folder(wanted) or can_hold(wanted)):
        return wanted, ""
    instead = own_temporary()
    return instead, INSTEAD.format(wanted=wanted, instead=instead)


def can_hold(folder: Path) -> bool:
    """Whether files may be made in a folder, or in one that is made at this path."""
    try:
        above = next(place for place in (folder, *folder.parents) if place.exists())
    except (OSError, StopIteration):  # a folder on the way may not be looked into
        return False
    return _is_folder(above) and os.access(above, os.W_OK | os.X_OK)


def is_writable(folder: Path) -> bool:
    """Whether files can be made in a folder, which is made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def has_home() -> bool:
    """Whether the user's home is known: users without an entry, in containers, have none."""
    return os.path.isabs(os.path.expanduser("~"))  # noqa: PTH111, PTH117  pathlib's raises instead


def own_temporary() -> Path:
    """Return a folder of the user's own, closed to others, in the folder of temporary files.

    What is kept there is read again and run (compiled kernels): one that somebody else could have
    filled is refused.

    Raises:
        HwsimError: there is no folder of temporary files, or somebody else holds the name.
    """
    try:
        folder = Path(tempfile.gettempdir()) / f"hwsim-{_user()}"
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise HwsimError(f"no folder for the cache ({error}): set {VARIABLE} to one") from None
    if hasattr(os, "getuid") and (
        not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077
    ):
        raise HwsimError(
            f"no folder for the cache ({folder} is not yours alone): set {VARIABLE} to one"
        )
    return folder


def place_caches() -> None:
    """Give the libraries that a command loads a place for their caches where they have none.

    Hugging Face's and matplotlib's default to the home; without one they fail or complain.
    """
    for variable, (base, usual, name) in CACHES.items():
        place = Path(os.environ.get(base) or Path(os.path.expanduser("~")) / usual)  # noqa: PTH111
        if not os.environ.get(variable) and not (place.is_absolute() and can_hold(place / name)):
            with suppress(HwsimError):  # then they say so themselves
                ours = _place()[0] / name
                os.environ[variable] = str(ours if can_hold(ours) else own_temporary() / name)


def say_once(line: str) -> None:
    """Print a line about this process's surroundings on standard error, unless silenced."""
    from quant.common.progress import is_silent

    if line not in _said and not is_silent() and sys.stderr is not None:
        print(f"hwsim: {line}", file=sys.stderr)
    _said.add(line)


_said: set[str] = set()


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _user() -> str:
    return str(os.getuid()) if hasattr(os, "getuid") else os.environ.get("USERNAME", "user")
