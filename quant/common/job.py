"""Long work into a folder: locked, kept step by step, resumable, whole or absent at the end.

While it lasts, everything is in ``.NAME.part`` beside the target ``NAME``, with a journal of the
steps that are done and of the files that each of them wrote. A run that was cut goes on from there,
if it is asked for the same; what is asked for is a ``request``: facts and hashes of all that the
result depends on. At the end the folder gets a sealed manifest and takes the target's name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from quant.common.errors import HwsimError, RequestError
from quant.common.files import PART, part_of, sha256_of, sync
from quant.common.folders import put_in_place, recover, remove_folder
from quant.common.goal import Goal, check_parent
from quant.common.locks import locked_folder
from quant.common.manifest import (
    MANIFEST,
    differing,
    is_ours,
    listed,
    manifest_of,
    normal,
)
from quant.common.progress import say
from quant.common.sealed import read_json, read_sealed, write_sealed

JOURNAL = "journal.json"
SCHEMA = "hwsim.journal/1"


@dataclass(frozen=True)
class Step:
    """A part of the work that is done.

    Attributes:
        sha256: File name -> SHA-256 of what it wrote.
        facts: What else it found out.
    """

    sha256: Mapping[str, str] = field(default_factory=dict)
    facts: Any = None


@dataclass
class Job:
    """A run: where it writes, and what is done of it.

    Attributes:
        goal: What it makes.
        folder: Where files are written until the end.
        steps: What earlier runs and this one have done, by name.
        made: The manifest of the finished result; None: there is work to do.
        complete: Whether the folder holds a whole result, which lacks its name at most.
    """

    goal: Goal
    folder: Path
    steps: dict[str, Step] = field(default_factory=dict)
    made: dict[str, Any] | None = None
    complete: bool = False

    def keep(self, name: str, facts: Any = None, files: Sequence[str] = ()) -> Step:  # noqa: ANN401
        """Note that a step is done, so that no later run does it again.

        Args:
            name: Of the step.
            facts: What it found out, as JSON can hold it.
            files: Names of the files that it wrote into ``folder``.
        """
        for file in files:
            sync(self.folder / file)
        step = Step({file: sha256_of(self.folder / file) for file in files}, normal(facts))
        self.steps[name] = step
        self.write_journal()
        return step

    def finish(self, content: Mapping[str, Any], files: Sequence[str]) -> dict[str, Any]:
        """Give the folder its manifest and its name; return the manifest.

        Args:
            content: What the manifest says beside schema, request and hashes.
            files: Names of all files of the result, relative; others are left out.

        Raises:
            HwsimError: a file is not there.
        """
        known = {name: text for step in self.steps.values() for name, text in step.sha256.items()}
        for name in sorted(files):
            if not (self.folder / name).is_file():
                raise HwsimError(f"{self.folder / name}: not written")
        hashes = {n: known.get(n) or sha256_of(self.folder / n) for n in sorted(files)}
        made = manifest_of(self.goal.schema, self.goal.request, hashes, content)
        write_sealed(self.folder / MANIFEST, made)
        return self.place(made)

    def written(self) -> list[str]:
        """Return the names of all files that the folder holds, the journal apart."""
        paths = (p for p in self.folder.rglob("*") if p.is_file())
        return sorted({p.relative_to(self.folder).as_posix() for p in paths} - {JOURNAL})

    def place(self, made: dict[str, Any]) -> dict[str, Any]:
        """Let the finished folder, its manifest included, take the target's name."""
        self.complete = True
        _clear(self.folder, {MANIFEST, *made["sha256"]})
        (self.folder / JOURNAL).unlink(missing_ok=True)
        put_in_place(self.folder, self.goal.folder, _listed(self.goal))
        self.made = made
        return made

    def write_journal(self) -> None:
        """Put the steps that are done on the disk."""
        steps = {n: {"sha256": s.sha256, "facts": s.facts} for n, s in self.steps.items()}
        content = {"schema": SCHEMA, "kind": self.goal.schema}
        write_sealed(
            self.folder / JOURNAL, {**content, "request": self.goal.request, "steps": steps}
        )


@contextmanager
def job(goal: Goal) -> Iterator[Job]:
    """Hold a place, and go on with an unfinished run of the same request that waits there.

    What a failed run has kept stays for the next one; one that kept nothing leaves nothing. What an
    unfinished run has kept is given up only by work of another request that begins in its place.

    Raises:
        RequestError: as ``Goal.finished``, or files that are not ours where the work would be.
        HwsimError: another process writes there.
    """
    made = goal.result()
    if made is not None:  # also where nothing could be written
        sweep(goal)
        yield Job(goal, goal.folder, made=made)
        return
    check_parent(goal.folder)
    work = part_of(goal.folder)
    if work.is_dir() and not _is_work(work):
        raise RequestError(f"{work} holds files that are not ours: move them away")
    with locked_folder(work, goal.folder, wait=goal.owned):
        current = Job(goal, work)
        begun = False
        try:
            recover(goal.folder)
            current.made = goal.finished()
            if current.made is None:
                _begin(current)
            begun = True
            yield current
        finally:
            # A whole result waits for its name, steps for the next run; what was there before this
            # run had looked at it is not ours to remove.
            if begun and not (current.steps or current.complete or current.made):
                remove_folder(work, (JOURNAL, MANIFEST))
            elif not begun or current.made:
                with suppress(OSError):  # it is not empty, or it was renamed
                    work.rmdir()


def sweep(goal: Goal) -> None:
    """Remove what a killed run left beside a finished result, unless it is an unfinished run."""
    work = part_of(goal.folder)
    if work.is_dir() and _is_work(work):
        with suppress(OSError, HwsimError), locked_folder(work, goal.folder):
            if not _steps(work):
                remove_folder(work, (JOURNAL, MANIFEST))
            else:
                say(f"{work}: an unfinished run of another request waits there")


def _begin(current: Job) -> None:
    """Go on where an earlier run was cut, or write down what begins here."""
    work, goal = current.folder, current.goal
    ready = replace(goal, folder=work).result()
    if ready is not None:  # it only lacks its name
        current.place(ready)
        return
    current.steps |= _earlier(work, goal)
    current.write_journal()  # from here on the folder says whose it is
    _clear(work, {name for step in current.steps.values() for name in step.sha256})


def _steps(work: Path) -> dict[str, Step]:
    """Steps of the journal that lies in a folder; none where it is damaged."""
    try:
        found = read_sealed(work / JOURNAL)
        return {name: Step(**step) for name, step in found["steps"].items()}
    except (RequestError, KeyError, TypeError, AttributeError):
        return {}


def _earlier(work: Path, goal: Goal) -> dict[str, Step]:
    """Steps of an unfinished run of the same request whose files are all whole."""
    steps = _steps(work)
    if not steps:
        return {}
    found = read_sealed(work / JOURNAL)
    if (found.get("kind"), found.get("request")) != (goal.schema, goal.request):
        say(
            f"{goal.folder}: an unfinished run of another request is given up (it differs in "
            f"{differing(found.get('request', {}), goal.request)})"
        )
        return {}
    whole = {name: step for name, step in steps.items() if _is_whole(work, step)}
    if whole:
        say(f"{goal.folder}: going on with a run that was cut ({len(whole)} steps are done)")
    return whole


def _is_whole(work: Path, step: Step) -> bool:
    return all((work / n).is_file() and sha256_of(work / n) == h for n, h in step.sha256.items())


def _clear(work: Path, kept: Collection[str]) -> None:
    """Remove all files but the kept ones and the journal, and folders that are left empty."""
    for path in sorted(work.rglob("*"), reverse=True):
        name = path.relative_to(work).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif name not in kept and name != JOURNAL:
            path.unlink()


def _is_work(work: Path) -> bool:
    """Whether a folder is what an earlier run left: unfinished, just replaced, or empty."""
    names = {path.name for path in work.iterdir()}
    if names <= {f".{JOURNAL}{PART}"} or is_ours(work, "hwsim"):
        return True
    try:
        return read_json(work / JOURNAL).get("schema") == SCHEMA
    except RequestError:
        return False


def _listed(goal: Goal) -> list[str]:
    """Files of the older result, which go; all of them where the place is ours alone."""
    if not goal.folder.is_dir():
        return []
    if goal.owned:
        return [p.relative_to(goal.folder).as_posix() for p in goal.folder.rglob("*")]
    return listed(goal.folder)
