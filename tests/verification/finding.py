"""What a part of the verification says: one line of ``reports/verification.md``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        part: The section it belongs to.
        what: What was compared with what.
        count: How many cases, clocks or mutants.
        unit: What ``count`` counts.
        failures: How many of them differed, or survived; 0 is what is wanted.
        note: Anything a reader must know: what is left out and why, percentages, seeds.
    """

    part: str
    what: str
    count: int
    unit: str
    failures: int
    note: str = ""
