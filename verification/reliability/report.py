"""The report of the campaign: what was tried, how often, what failed by name, and with what."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from quant.common.versions import own_code
from verification.reliability.determinism import MAY_DIFFER
from verification.reliability.result import DeterminismResult, FaultResult, FuzzResult

LIBRARIES: tuple[str, ...] = ("numba", "numpy", "torch", "transformers", "safetensors")
LIBRARIES += ("tokenizers", "matplotlib", "pandas", "pyarrow", "scipy")
NOT_SEEN = (
    "Operations that a library asks of the kernel without the C library are not seen; of those "
    "that were met it is the rename of safetensors' temporary file inside the hidden folder."
)
FAULTS = """Every file operation under the result and the cache is counted: opening to write, each
write and each half of one, truncating, flushing, linking, renaming and exchanging, removing, making
folders, changing modes, locking. One run for each: the process is killed before it (SIGKILL), the
disk is full from it on (ENOSPC), or it fails once (EIO). Then the result is absent, or the older
one whole, or the new one whole; a failure is exit code 1 and one line. The same request again ends
with the same bytes and modes as an undisturbed run, and leaves nothing beside them."""
SAME = """Made in processes of their own, each with an empty cache, and compared by SHA-256, names
and modes, under: {conditions}."""
FUZZ = """A seed and a corpus make inputs for every place where something is read. What is not
refused with one line of our own, or is read as whole although it is damaged, is a failure."""


@dataclass(frozen=True)
class Findings:
    """All that the campaign found.

    Attributes:
        command: What was run.
        faults: Of the jobs.
        determinism: Of the groups of results.
        fuzz: Of the edges.
    """

    command: str
    faults: Sequence[FaultResult] = ()
    determinism: Sequence[DeterminismResult] = ()
    fuzz: Sequence[FuzzResult] = ()

    @property
    def failures(self) -> list[str]:
        """Everything that went wrong, a line each."""
        return [
            *(f"{r.job}: {line}" for r in self.faults for line in r.failed),
            *(f"{r.result}: {name} differs" for r in self.determinism for name in r.differing),
            *(f"{r.edge}: {line}" for r in self.fuzz for line in r.foreign_tracebacks),
            *(f"{r.edge}: wrongly read: {line}" for r in self.fuzz for line in r.wrong_acceptances),
        ]

    def markdown(self) -> str:
        """Return the report."""
        failures = self.failures
        parts = [
            "# Reliability",
            f"Made by `{self.command}`.",
            f"Failures: {len(failures)}." if failures else "Nothing failed.",
            *([_list(failures)] if failures else []),
            *(_faults(self.faults) if self.faults else []),
            *(_determinism(self.determinism) if self.determinism else []),
            *(_fuzz(self.fuzz) if self.fuzz else []),
            "## Versions",
            _list(versions()),
        ]
        return "\n\n".join(parts) + "\n"


def versions() -> list[str]:
    """Return what the campaign ran on: system, Python, libraries, our own code."""
    found = [f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"]
    found.append(f"Python {platform.python_version()}")
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name}: not installed")
    return [*found, f"code that rounds: {own_code()[:16]}"]


def _faults(results: Sequence[FaultResult]) -> list[str]:
    rows = [(r.job, r.fault, r.points, len(r.failed)) for r in results]
    total = sum(r.points for r in results)
    head = ("job", "fault", "operations", "failed")
    return ["## Faults", FAULTS, f"{total} faults.", _table(head, rows), NOT_SEEN]


def _determinism(results: Sequence[DeterminismResult]) -> list[str]:
    conditions = "; ".join(results[0].conditions)
    rows = [(r.result, r.files, len(r.differing)) for r in results]
    return [
        "## Determinism",
        SAME.format(conditions=conditions),
        _table(("results", "files", "differing"), rows),
        "Between BLAS builds, processors and versions of libraries may differ:",
        _list(MAY_DIFFER),
    ]


def _fuzz(results: Sequence[FuzzResult]) -> list[str]:
    head = ("edge", "inputs", "refused", "read", "foreign exceptions", "wrongly read")
    rows = [
        (
            r.edge,
            r.cases,
            r.refused,
            r.accepted,
            len(r.foreign_tracebacks),
            len(r.wrong_acceptances),
            f"{r.slowest_s:.2f}",
            f"{r.peak_bytes / 2**30:.2f}",
        )
        for r in results
    ]
    total = sum(r.cases for r in results)
    table = _table((*head, "slowest, s", "memory, GiB"), rows)
    return ["## Fuzz", FUZZ, f"{total} inputs.", table]


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _list(lines: Iterable[str]) -> str:
    return "\n".join(f"- {line}" for line in lines)
