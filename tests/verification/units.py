"""Every module of the PE and the array beside its specification, and misuse of each protocol."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.rtl.units import BENCHES, FULL, MISUSE, QUICK, assertions_of, build_units, run_units
from tests.verification.finding import Finding

COUNTS = {"quick": QUICK, "full": FULL}
SEED = 3


def run(scale: str) -> list[Finding]:
    """Run all unit benches and all misuse on one build.

    Args:
        scale: ``quick`` or ``full``.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build_units(folder)
        outcome = run_units(folder, COUNTS[scale], SEED)
        found = [
            finding(module, outcome.compared.get(module))
            for modules in BENCHES.values()
            for module in modules
        ]
        wrong = [
            test for test, said in MISUSE.items() if assertions_of(folder, test) != (1, [said])
        ]
        proper = assertions_of(folder, "nothing_is_wrong") == (0, [])
    what = "misuse of a protocol ends the simulation with its assertion; proper use does not"
    note = ", ".join(MISUSE.values())
    failures = len(wrong) + (not proper)
    return [*found, Finding("units", what, len(MISUSE) + 1, "tests", failures, note)]


def finding(module: str, count: int | None) -> Finding:
    """Return a module's line; a bench that failed says no count."""
    what = f"{module} against its specification in Python, in lock-step"
    return Finding("units", what, count or 0, "vectors", int(count is None), f"seed {SEED}")
