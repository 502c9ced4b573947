"""What a campaign of reliability found: counts, and what failed by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class FaultResult:
    """Faults of one kind injected into one job.

    Attributes:
        job: What ran, such as ``stream, overwriting``.
        fault: What was done to it, such as ``killed`` or ``ENOSPC``.
        points: File operations at which it was done, one run each.
        failed: What went wrong, one line each; empty: nothing.
    """

    job: str
    fault: str
    points: int
    failed: Sequence[str] = ()


@dataclass(frozen=True)
class DeterminismResult:
    """One result made several times, each in a process of its own.

    Attributes:
        result: What was made, such as ``quantize gptq fp4:g32``.
        files: Files that were compared.
        conditions: Under which it was made, such as ``1 thread, hash seed 0``.
        differing: Names of the files that were not the same under all of them.
    """

    result: str
    files: int
    conditions: Sequence[str]
    differing: Sequence[str] = ()


@dataclass(frozen=True)
class FuzzResult:
    """Damaged or made-up inputs given to one edge.

    Attributes:
        edge: What read them, such as ``gguf`` or ``plan``.
        cases: Inputs tried.
        refused: Of these, refused with one line of our own.
        accepted: Of these, read as what they are.
        foreign_tracebacks: Inputs that ended with an exception that is not ours, one line each.
        wrong_acceptances: Damaged inputs that were read as whole, one line each.
        slowest_s: Seconds of the slowest input.
        peak_bytes: Most memory that the process held.
    """

    edge: str
    cases: int
    refused: int
    accepted: int
    foreign_tracebacks: Sequence[str] = field(default=())
    wrong_acceptances: Sequence[str] = field(default=())
    slowest_s: float = 0.0
    peak_bytes: int = 0
