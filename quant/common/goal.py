"""What a run into a folder shall make, and whether it may: decided before the work for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from quant.common.errors import RequestError
from quant.common.manifest import (
    MANIFEST,
    differing,
    is_ours,
    listed,
    normal,
    read_sealed_manifest,
    whole_manifest,
)
from quant.common.output import check_writable
from quant.common.progress import say


@dataclass(frozen=True)
class Goal:
    """What a run shall make, and where.

    Attributes:
        folder: The target.
        schema: Name and version of what the folder holds, such as ``hwsim.checkpoint/2``.
        request: All that the result depends on, as JSON can hold it.
        overwrite: Take the place of an earlier result of another request.
        owned: The place belongs to us alone (the cache): whatever is there may go, a file that the
            manifest does not list makes it no result, and another run that makes the same is
            waited for.
    """

    folder: Path
    schema: str
    request: Mapping[str, Any]
    overwrite: bool = False
    owned: bool = False

    def __post_init__(self) -> None:
        folder = Path(os.path.realpath(self.folder))
        if not folder.name:
            raise RequestError(f"{folder} is the root of all files: name a folder inside it")
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "request", normal(self.request))

    def check(self) -> None:
        """Refuse early what ``finished`` would refuse, when the request is known in part.

        Keys that are not given are taken as equal, and files are not looked into.

        Raises:
            RequestError: as ``finished``.
        """
        found = self._there(whole=False)
        if found is None:
            return
        earlier = found.get("request", {})
        known = {key: earlier.get(key) for key in self.request}
        if (found["schema"], known) != (self.schema, self.request):
            self._check_replaceable({**found, "request": known})

    def result(self) -> dict[str, Any] | None:
        """Return the manifest of a whole result of the same request; None: there is none."""
        try:
            found = read_sealed_manifest(self.folder)
            same = (found["schema"], found.get("request")) == (self.schema, self.request)
            return whole_manifest(self.folder, others=not self.owned) if same else None
        except RequestError:
            return None

    def finished(self) -> dict[str, Any] | None:
        """Return the manifest of a finished run of the same request; None: there is work to do.

        Raises:
            RequestError: nothing may be written there: a file, a folder with what is not ours, or
                an earlier result of another request that is not to be overwritten.
        """
        found = self._there(whole=True)
        if found is None:
            return None
        if (found["schema"], found.get("request")) == (self.schema, self.request):
            return found
        self._check_replaceable(found)
        return None

    def _there(self, *, whole: bool) -> dict[str, Any] | None:
        """The manifest of what is there already, if anything is, and its files are whole."""
        if self.folder.exists() and not self.folder.is_dir():
            raise RequestError(f"{self.folder} is a file: the name of a folder is needed")
        if not self.folder.is_dir() or not any(self.folder.iterdir()):
            check_parent(self.folder)
            return None
        try:
            if whole:
                return whole_manifest(self.folder, others=not self.owned)
            return read_sealed_manifest(self.folder)
        except RequestError as error:
            self._check_damaged(error)
            return None

    def _check_damaged(self, error: RequestError) -> None:
        """Something is there, and it is no whole result."""
        if self.owned:
            without = not (self.folder / MANIFEST).exists()
            say(
                f"{self.folder}: of another version; made anew"
                if without
                else f"{error}; made anew"
            )
            return
        if not is_ours(self.folder, self.schema):
            why = error if (self.folder / MANIFEST).exists() else f"no {MANIFEST} of {self.schema}"
            raise RequestError(
                f"{self.folder} holds files that are not ours ({why}): choose another folder"
            )
        if not listed(self.folder)[1:]:
            raise RequestError(f"{error}; which files are ours is lost: choose another folder")
        if not self.overwrite:
            raise RequestError(f"{error}; --overwrite (overwrite=True) makes it anew")

    def _check_replaceable(self, found: Mapping[str, Any]) -> None:
        """A whole result is there, of something else."""
        if self.owned:
            say(f"{self.folder}: of another version; made anew")
            return
        if not is_ours(self.folder, self.schema):
            raise RequestError(
                f"{self.folder} holds a result of another kind ({found['schema']}): choose another "
                "folder"
            )
        if not self.overwrite:
            raise RequestError(
                f"{self.folder} holds the finished result of another request (it differs in "
                f"{differing(found.get('request', {}), self.request)}): choose another folder, or "
                "--overwrite (overwrite=True) takes its place"
            )


def check_parent(folder: Path) -> None:
    """Raise a RequestError where no folder could be made, before the work for it is done."""
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir():
        raise RequestError(f"{folder}: {above} is a file, not a folder")
    check_writable(folder)
    if folder.exists() and (os.path.ismount(folder) or Path.cwd().is_relative_to(folder)):
        raise RequestError(
            f"{folder} is in use as a whole (mounted, or where this runs): name a folder inside it"
        )
