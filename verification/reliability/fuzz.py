"""Fuzz: damaged and made-up inputs given to every place that reads something from outside.

What must not happen: an exception that is not ours, a damaged checkpoint that is read as whole, an
input that takes more than 5 s or lets the process hold more than 2 GiB.

``python -m verification.reliability.fuzz`` does it in one process and prints a result a line, as
JSON. Everything follows from the seed: a failure names edge, seed and case, and its input can be
kept in a corpus, which is tried again each time.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from types import FrameType

from verification.reliability.fuzz_cli import EDGES as PROGRAMS
from verification.reliability.fuzz_edge import Edge, LoudRefusal, Target, WrongAcceptance
from verification.reliability.fuzz_files import EDGES as FILES
from verification.reliability.fuzz_folders import EDGES as FOLDERS
from verification.reliability.fuzz_text import EDGES as TEXTS
from verification.reliability.result import FuzzResult

EDGES = {edge.name: edge for edge in (*TEXTS, *FILES, *FOLDERS, *PROGRAMS)}
OFTEN, LONG = 10_000, 1_000_000
"""Inputs on every push, and in a long campaign."""
MOST_S, MOST_BYTES = 5.0, 2 << 30
STOP_S = 20.0
"""Seconds after which an input is stopped."""
ROOM = 6 << 30
"""Bytes that the process may allocate; the machine belongs to others too."""
CORPUS = Path("tests/reliability/corpus")


class TooLong(BaseException):
    """An input that had to be stopped."""


@dataclass
class Tally:
    """What the inputs of an edge did so far."""

    cases: int = 0
    refused: int = 0
    accepted: int = 0
    foreign: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    slow: list[str] = field(default_factory=list)


def tried(edge: Edge, cases: int, seed: int, corpus: Path, *, keep: bool = False) -> FuzzResult:
    """Return what the corpus and ``cases`` inputs of a seed did at an edge.

    Args:
        edge: Where they are read.
        cases: New inputs.
        seed: What they follow from.
        corpus: Folder with a folder of earlier inputs for each edge.
        keep: Add inputs that failed to the corpus.
    """
    tally = Tally()
    with _own_folder(edge.name) as folder:
        _forget_peak()
        target = edge.target(folder)
        for data in target.valid:
            if not target.accepts(data):
                raise AssertionError(f"{edge.name}: a whole input is not accepted")
        for path in sorted((corpus / edge.name).glob("*")):
            _try(target, path.read_bytes(), path.name, tally)
        for case in range(cases):
            data = target.made(Random(f"{edge.name} {seed} {case}"))
            if not _try(target, data, f"seed {seed}, case {case}", tally) and keep:
                _keep(corpus / edge.name, data, edge.suffix)
        return FuzzResult(
            edge.name,
            tally.cases,
            tally.refused,
            tally.accepted,
            tuple(tally.foreign),
            tuple(tally.wrong),
            tally.slowest_s,
            _peak(),
        )


def fuzz(
    cases: int, seed: int, edges: tuple[str, ...] = (), corpus: Path = CORPUS
) -> list[FuzzResult]:
    """Return what inputs do at every edge, in a process of its own.

    Args:
        cases: Inputs, shared out among all edges.
        seed: What they follow from.
        edges: Only these; empty: all.
        corpus: Earlier inputs.
    """
    line = [sys.executable, "-m", "verification.reliability.fuzz", *edges, "--corpus", str(corpus)]
    line += ["--cases", str(cases), "--seed", str(seed)]
    done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)
    lines = [text for text in done.stdout.splitlines() if text.startswith("{")]
    return [FuzzResult(**json.loads(text)) for text in lines]


def _try(target: Target, data: bytes, name: str, tally: Tally) -> bool:
    """Give an input to an edge; return whether that went as it must."""
    from quant.common.errors import HwsimError

    tally.cases += 1
    begin, failures = time.process_time(), len(tally.foreign) + len(tally.wrong)
    signal.setitimer(signal.ITIMER_PROF, STOP_S)
    try:
        accepted = target.accepts(data)
        tally.accepted += accepted
        tally.refused += not accepted
    except HwsimError as error:
        tally.refused += 1
        if isinstance(error.__cause__, MemoryError):
            tally.foreign.append(f"{name}: {_said(error)}")
    except WrongAcceptance as found:
        tally.wrong.append(f"{name}: {found}")
    except (Exception, TooLong, SystemExit) as error:
        tally.foreign.append(f"{name}: {_said(error)}")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    seconds = time.process_time() - begin
    tally.slowest_s = max(tally.slowest_s, seconds)
    if seconds > MOST_S:
        tally.foreign.append(f"{name}: took {seconds:.1f} s")
    return failures == len(tally.foreign) + len(tally.wrong)


def _said(error: BaseException) -> str:
    if isinstance(error, LoudRefusal):
        return str(error)
    from quant.common.boundary import place

    return f"{type(error).__name__} at {place(error)}: {' '.join(str(error).split()):.200}"


def _keep(folder: Path, data: bytes, suffix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{hashlib.sha256(data).hexdigest()[:12]}{suffix}").write_bytes(data)


@contextmanager
def _own_folder(name: str) -> Iterator[Path]:
    """An empty folder, in which the process is, and a cache beside it."""
    from quant.common.cache import VARIABLE

    where = Path.cwd()
    with tempfile.TemporaryDirectory() as base:
        folder = Path(base) / name.replace(" ", "-")
        folder.mkdir()
        os.environ[VARIABLE] = f"{base}/cache"
        os.chdir(folder)
        try:
            yield folder
        finally:
            os.chdir(where)


def _forget_peak() -> None:
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Most bytes that the process held since ``_forget_peak``."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def _alone() -> None:
    """Ask no network, take one core, stop what takes too long, and leave memory to others."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLong

    signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_DATA, (ROOM, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def _environment() -> None:
    """Start this program again where its environment is not what it needs."""
    needed = {"HF_HUB_OFFLINE": "1", "PIP_NO_INDEX": "1", "OMP_NUM_THREADS": "1"}
    needed |= {"OPENBLAS_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
    if any(os.environ.get(name) != value for name, value in needed.items()):
        line = [sys.executable, "-m", "verification.reliability.fuzz", *sys.argv[1:]]
        os.execve(sys.executable, line, {**os.environ, **needed})


def _main() -> None:
    parser = argparse.ArgumentParser(description="Give damaged inputs to every edge.")
    parser.add_argument("edges", nargs="*", choices=[[], *EDGES], metavar="EDGE")
    parser.add_argument("--cases", type=int, default=OFTEN, help="Inputs at all edges together.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", type=Path, default=CORPUS)
    parser.add_argument("--keep", action="store_true", help="Add what failed to the corpus.")
    asked = parser.parse_args()
    _environment()
    _alone()
    corpus = asked.corpus.absolute()
    names = asked.edges or list(EDGES)
    whole = sum(EDGES[name].share for name in names)
    for name in names:
        cases = -(-asked.cases * EDGES[name].share // whole)
        result = tried(EDGES[name], cases, asked.seed, corpus, keep=asked.keep)
        print(json.dumps(asdict(result)), flush=True)


if __name__ == "__main__":
    _main()
