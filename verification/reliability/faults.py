"""Fault injection: jobs that are killed, or told that the disk is full, at every file operation.

After each fault the result is absent, or the older one whole, or the new one whole; a failure is
one line and exit code 1; the same request again ends with the same bytes as an undisturbed run, and
leaves nothing beside them.

``python -m verification.reliability.faults JOB ...`` is jobs of the campaign in a process that is
started for them (``injection.environment``); it prints a result a line, as JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from verification.reliability.injection import (
    FAULTS,
    KILLED,
    Ending,
    Fault,
    compile_library,
    environment,
    injected,
    scratch,
)
from verification.reliability.result import FaultResult
from verification.reliability.trials import ALL, Trial

LIMIT_S = 3600
"""Seconds for all faults of one job."""
MOST = 100_000
"""File operations of a job, at most: more would be an endless one."""
Content = dict[str, str]
"""Path -> mode and hash of what is there."""


class CampaignError(Exception):
    """The campaign itself cannot go on."""


@dataclass(frozen=True)
class Campaign:
    """One job in many folders.

    Attributes:
        name: The job's.
        trial: The job.
        base: Folder for all of it, absolute and without links.
        packages: Folder of downloaded packages that the job may read.
    """

    name: str
    trial: Trial
    base: Path
    packages: Path

    def results(self, limit: int | None) -> Iterator[FaultResult]:
        """Yield what each kind of fault did, at all operations or at ``limit`` of them."""
        before = self._prepared("before")
        whole = self.base / "whole"
        shutil.copytree(self.base / "before", whole, symlinks=True)
        self._undisturbed(whole)
        after = content(whole)
        for fault in FAULTS:
            points = spread(self._count(fault), limit)
            failed = [line for at in points for line in self._at(fault, at, before, after)]
            yield FaultResult(self.name, fault.name, len(points), tuple(failed))

    def _prepared(self, name: str) -> Content:
        """Make the folder as it is before the job, and return what is in it."""
        case = self.base / name
        (case / "cache").mkdir(parents=True)
        (case / "cache" / "packages").symlink_to(self.packages)
        if self.trial.earlier is not None:
            earlier = self.trial.earlier
            ending = self._run(case, lambda: earlier(case), KILLED, 0)
            _check(ending.code == 0, f"{self.name}: what is there before: {ending}")
        return content(case)

    def _run(self, case: Path, work: object, fault: Fault, at: int) -> Ending:
        assert callable(work)
        variables = {"HWSIM_CACHE": str(case / "cache")}
        return injected(work, case, self.base, fault, at, variables)

    def _undisturbed(self, case: Path) -> None:
        ending = self._run(case, lambda: self.trial.run(case), KILLED, 0)
        _check(ending.code == 0, f"{self.name}, undisturbed: {ending.code} {ending.said}")

    def _count(self, fault: Fault) -> int:
        """File operations of an undisturbed run that a fault could fall on."""
        case = self._copied()
        ending = self._run(case, lambda: self.trial.run(case), fault, 0)
        shutil.rmtree(case)
        count = len(ending.operations)
        _check(ending.code == 0 and 0 < count < MOST, f"{self.name}: {count} operations")
        return count

    def _copied(self) -> Path:
        case = self.base / "case"
        shutil.copytree(self.base / "before", case, symlinks=True)
        return case

    def _at(self, fault: Fault, at: int, before: Content, after: Content) -> Iterator[str]:
        """Yield what is wrong after a fault at one operation, and after the same request again."""
        case = self._copied()
        ending = self._run(case, lambda: self.trial.run(case), fault, at)
        if fault is KILLED:
            _check(ending.is_killed, f"{self.name}, operation {at}: not killed but {ending}")
        _check(ending.code != -signal.SIGALRM, f"{self.name}, operation {at}: no end in sight")
        where = f"{fault.name} at operation {at} ({ending.operations[-1]})"
        now = content(case)
        yield from (f"{where}: {line}" for line in self._halves(now, before, after))
        if fault is not KILLED:
            done = self._halves(now, after, after) == []
            yield from (f"{where}: {line}" for line in _wrong_end(ending, done=done))
        again = self._run(case, lambda: self.trial.run(case), KILLED, 0)
        if again.code:
            yield f"{where}: again: exit code {again.code}, {again.said[-1:]}"
        elif differing := unlike(content(case), after):
            yield f"{where}: again: differs in {', '.join(differing)}"
        shutil.rmtree(case)

    def _halves(self, now: Content, before: Content, after: Content) -> list[str]:
        """Results that are neither as before nor as after."""
        return [
            f"{name} is neither the old nor the new one"
            for name in _roots({**before, **after, **now}, self.trial.results)
            if _below(now, name) not in (_below(before, name), _below(after, name))
        ]


def content(folder: Path) -> Content:
    """Return mode and hash of everything in a folder; links are not followed."""
    found: Content = {}
    for path in sorted(folder.rglob("*")):
        mode = oct(path.lstat().st_mode)
        is_file = path.is_file() and not path.is_symlink()
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
        found[path.relative_to(folder).as_posix()] = f"{mode} {digest}"
    return found


def unlike(one: Content, other: Content) -> list[str]:
    """Return the names that are not the same in two folders."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))


def spread(count: int, limit: int | None) -> Sequence[int]:
    """Return all numbers from 1 to ``count``, or ``limit`` of them from the first to the last."""
    if limit is None or count <= limit:
        return range(1, count + 1)
    return sorted({1 + round(i * (count - 1) / (limit - 1)) for i in range(limit)})


def inject(jobs: Sequence[str], limit: int | None = None) -> Iterator[FaultResult]:
    """Yield what all faults do to jobs, in a process that is started for it.

    Args:
        jobs: Of ``trials.ALL``.
        limit: Operations for each kind of fault; None: all.

    Raises:
        CampaignError: a job that does not even run undisturbed, or an end that nobody expected.
    """
    with scratch() as folder:
        line = [sys.executable, "-m", "verification.reliability.faults", *jobs, "--folder", folder]
        line += [] if limit is None else ["--limit", str(limit)]
        env = environment(compile_library(Path(folder)))
        with subprocess.Popen(line, env=env, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                for found in process.stdout:
                    yield FaultResult(**json.loads(found))
            except BaseException:  # also where nobody asks for the rest
                process.kill()
                raise
        if process.returncode:
            raise CampaignError(
                f"{', '.join(jobs)}: the process of its faults ended: {process.returncode}"
            )


def _wrong_end(ending: Ending, *, done: bool) -> Iterator[str]:
    """A failure is exit code 1 and one line; no failure is a whole result."""
    if ending.code == 0 and not done:
        yield "exit code 0 without the result"
    elif ending.code not in (0, 1):
        yield f"exit code {ending.code}: {ending.said[-1:]}"
    elif ending.code == 1 and len(ending.said) != 1:
        yield f"{len(ending.said)} lines: {ending.said[-3:]}"
    if any("fault of this program" in line or "Traceback" in line for line in ending.said):
        yield f"said to be a defect: {ending.said}"


def _roots(names: Mapping[str, str], patterns: Sequence[str]) -> list[str]:
    """Names that match a pattern, those of unfinished work (hidden) left out."""
    return [
        name
        for name in names
        if not Path(name).name.startswith(".")
        and any(
            fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")
            for pattern in patterns
        )
    ]


def _below(names: Content, root: str) -> Content:
    return {n: v for n, v in names.items() if n == root or n.startswith(f"{root}/")}


def _check(holds: bool, message: str) -> None:
    if not holds:
        raise CampaignError(message)


def _main() -> None:
    parser = argparse.ArgumentParser(description="Inject faults into one job.")
    parser.add_argument("job", nargs="+", choices=list(ALL))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--limit", type=int)
    asked = parser.parse_args()
    signal.alarm(LIMIT_S)
    from quant.common.cache import cache_dir
    from quant.common.versions import made_by

    made_by()  # once: the sources may be edited while this runs
    base = Path(os.path.realpath(asked.folder))
    packages = cache_dir().absolute() / "packages"
    for job in asked.job:
        inputs = base / f"inputs of {job}"
        inputs.mkdir()
        for name, trial in ALL[job](inputs).items():
            own = base / name.replace("/", "-")
            own.mkdir()
            for result in Campaign(name, trial, own, packages).results(asked.limit):
                print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    _main()
