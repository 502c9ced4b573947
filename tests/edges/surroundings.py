"""A read-only installation, and users without a home, to run commands in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PACKAGES = ("quant", "roofline", "hwsim")


def install_read_only(folder: Path) -> None:
    """Copy the packages, without compiled files, to where nobody may write."""
    for name in PACKAGES:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    set_mode(folder, 0o555, 0o444)
    for above in (folder, *folder.parents):
        if above.stat().st_uid == os.getuid() and not above.stat().st_mode & 0o001:
            above.chmod(above.stat().st_mode | 0o001)  # pytest's own folders are closed to others


def set_mode(folder: Path, folders: int, files: int) -> None:
    """Set the modes of a folder and of all in it."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(folders if path.is_dir() else files)


@contextmanager
def read_only(folder: Path) -> Iterator[Path]:
    """Yield a read-only installation; it can be removed afterwards."""
    install_read_only(folder)
    try:
        yield folder
    finally:
        set_mode(folder, 0o755, 0o644)


def is_root() -> bool:
    """Whether tests may run as another user."""
    return os.getuid() == 0


def without_home(
    installed: Path, temporary: Path, *words: str, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run Python on a read-only installation, as nobody if that is allowed, without a home.

    Args:
        installed: Folder of the packages.
        temporary: Folder of temporary files, the only one that may be written.
        *words: Arguments of Python.
        **variables: Environment, beside PATH.
    """
    line = [sys.executable, "-P", *words]
    if is_root():
        # The interpreter may lie in a folder that is closed to others: to look is allowed, not to
        # write, which is what counts here.
        allowed = "-all,+dac_read_search"
        line = [
            "setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups",
            "--inh-caps", allowed, "--ambient-caps", "+dac_read_search",
            "--bounding-set", allowed, *line,
        ]  # fmt: skip
    own = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "TMPDIR": str(temporary)}
    return subprocess.run(
        line,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=own | variables,
    )
