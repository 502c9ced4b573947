"""Faults in the PE's model that quick checks must find.

``mutants.toml`` gives, for each, a file, a piece of its text and what stands there instead. A
mutant lives in a copy of the packages in a temporary folder; ``model_checks`` runs on it in a
process of its own, without compilation, and must fail.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.verification.finding import Finding

ROOT = Path(__file__).parent.parent.parent
MUTANTS = Path(__file__).parent / "mutants.toml"
PART = "Mutants of the PE's model"
SECONDS = 120
WORKERS = os.cpu_count() or 1
QUICK = 6
"""Mutants of the quick sample."""


@dataclass(frozen=True)
class Mutant:
    """A change of the text of a file, why it is a fault, and which checks are to find it.

    With ``equivalent`` it is none: the reason why no check can find it.
    """

    file: str
    old: str
    new: str
    why: str
    checks: tuple[str, ...] = ()
    equivalent: str = ""


def mutants() -> list[Mutant]:
    """Return the list of the file."""
    entries = tomllib.loads(MUTANTS.read_text(encoding="utf-8"))["mutant"]
    return [Mutant(**{**entry, "checks": tuple(entry.get("checks", ()))}) for entry in entries]


def survives(mutant: Mutant | None, folder: Path) -> bool:
    """Whether the checks hold on a copy of the packages with a mutant (None: without one).

    Raises:
        ValueError: the text to change does not stand there exactly once.
    """
    for name in ("hwsim", "quant", "tests"):
        if not (folder / name).exists():
            ignored = shutil.ignore_patterns("__pycache__", "*.npz", "compat")
            shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    if mutant is None:
        return _run((), folder)
    path = folder / mutant.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutant.old) != 1:
        raise ValueError(f"{mutant.file}: {text.count(mutant.old)} times: {mutant.old!r}")
    path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        # The checks that should find it come first; all of them must hold for it to survive.
        return bool((not mutant.checks or _run(mutant.checks, folder)) and _run((), folder))
    finally:
        path.write_text(text, encoding="utf-8")


def _run(checks: tuple[str, ...], folder: Path) -> bool:
    variables = {
        "PYTHONPATH": str(folder),
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-W", "ignore", "-m", "tests.verification.model_checks", *checks]
    try:
        done = subprocess.run(
            command, cwd=folder, env={**os.environ, **variables}, capture_output=True,
            timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False  # it does not end: found
    return done.returncode == 0


def _all_survive(chosen: list[Mutant], folder: Path) -> list[bool]:
    """``survives`` of each, a few at a time, every one at a time in a copy of its own."""
    copies: SimpleQueue[Path] = SimpleQueue()
    for index in range(WORKERS):
        copies.put(folder / f"copy{index}")

    def one(mutant: Mutant) -> bool:
        place = copies.get()
        try:
            return survives(mutant, place)
        finally:
            copies.put(place)

    with ThreadPoolExecutor(WORKERS) as pool:
        return list(pool.map(one, chosen))


def run(scale: str) -> list[Finding]:
    """All mutants, or a quick sample."""
    chosen = mutants()
    if scale == "quick":
        chosen = random.Random(1).sample([m for m in chosen if not m.equivalent], QUICK)
    alive: list[Mutant] = []
    explained: list[Mutant] = []
    with tempfile.TemporaryDirectory() as name:
        if not survives(None, Path(name)):
            raise RuntimeError("the checks fail without a mutant")
        for mutant, lives in zip(chosen, _all_survive(chosen, Path(name)), strict=True):
            if lives:
                (explained if mutant.equivalent else alive).append(mutant)
    note = f"{len(explained)} change nothing: " + "; ".join(m.equivalent for m in explained)
    if alive:
        note += "; survive: " + "; ".join(f"{m.file}: {m.why}" for m in alive)
    what = "hwsim.pe against rationals, SoftFloat and fixed numbers"
    return [Finding(PART, what, len(chosen), "mutants", len(alive), note)]


if __name__ == "__main__":
    for finding in run(sys.argv[1] if len(sys.argv) > 1 else "quick"):
        print(finding.what, finding.count, finding.failures, finding.note)
