"""Run every part of the verification and write the report.

``python -m tests.verification -o reports/verification.md``; ``--scale quick`` takes ten minutes,
``full`` (default) about an hour on two cores. Icarus Verilog, Verilator's coverage reader (both by
``scripts/apt.sh``) and the extra ``test`` are needed. Parts that are done are kept in the cache
folder and reused by the next run, unless ``--fresh`` is given or a source has changed.
"""

from __future__ import annotations

if __name__ == "__main__":  # the boundary first, then the imports below
    from quant.common.start import start

    start("python -m tests.verification", "tests.verification.__main__:main")

import argparse
import dataclasses
import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from _pytest.outcomes import Failed

from quant.common.cache import cache_dir
from quant.common.errors import HwsimError
from quant.common.files import write_text
from tests.rtl.simulator import ROOT
from tests.verification.finding import Finding

PARTS = (
    "products",
    "oracle",
    "units",
    "icarus",
    "lockstep",
    "layer",
    "coverage",
    "formal",
    "netlists",
    "mutation_rtl",
    "faults",
    "mutation_model",
)
LEAST_KILLED = 0.97
SOURCES = (
    "rtl", "hwsim/pe", "hwsim/tile", "hwsim/verilog", "quant/formats", "tests/rtl",
    "tests/verification",
)  # fmt: skip
EPILOG = "example: python -m tests.verification --scale quick --part products --part formal"


def main(arguments: Sequence[str] | None = None) -> int:
    """Return 0 if nothing differs, else 1."""
    parser = argparse.ArgumentParser("tests.verification", description=__doc__, epilog=EPILOG)
    parser.add_argument(
        "--scale", choices=["quick", "full"], default="full", help="quick: thinned, ten minutes"
    )
    parser.add_argument("--part", choices=PARTS, action="append", help="these only")
    parser.add_argument("--fresh", action="store_true", help="reuse no part that is done")
    parser.add_argument("-o", "--out", type=Path, help="write the report here")
    given = parser.parse_args(arguments)
    results: list[tuple[str, float, list[Finding]]] = []
    for part in given.part or PARTS:
        print(f"{part} ...", file=sys.stderr, flush=True)
        try:
            seconds, findings = _run(part, given.scale, given.fresh)
        except (Failed, ImportError, HwsimError) as error:
            print(f"tests.verification: {part} was not run: {error}", file=sys.stderr)
            return 2
        results.append((part, seconds, findings))
        failures = sum(finding.failures for finding in findings)
        print(f"{part}: {failures} differ, {seconds:.0f} s", file=sys.stderr, flush=True)
    text = report(results, given)
    if given.out:
        write_text(given.out, text)
    else:
        print(text)
    return int(any(is_fault(part, found) for part, _, found in results))


def is_fault(part: str, found: Sequence[Finding]) -> bool:
    """Whether a part fails: a difference, or fewer than 97 % of the mutants found."""
    failures = sum(finding.failures for finding in found)
    if not part.startswith("mutation"):
        return failures > 0
    return failures > (1 - LEAST_KILLED) * sum(finding.count for finding in found)


def _run(part: str, scale: str, fresh: bool) -> tuple[float, list[Finding]]:
    """Seconds and findings of a part, from the cache if its sources are unchanged."""
    store = cache_dir() / f"verification-{part}-{scale}-{_digest()}.json"
    if store.exists() and not fresh:
        kept = json.loads(store.read_text())
        return kept["seconds"], [Finding(**finding) for finding in kept["findings"]]
    start = time.perf_counter()
    findings = importlib.import_module(f"tests.verification.{part}").run(scale)
    seconds = time.perf_counter() - start
    kept = {"seconds": seconds, "findings": [dataclasses.asdict(found) for found in findings]}
    write_text(store, json.dumps(kept))
    return seconds, findings


def _digest() -> str:
    files = sorted(
        path
        for folder in SOURCES
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".sv", ".svh", ".v", ".toml"}
    )
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]


def report(results: Sequence[tuple[str, float, list[Finding]]], given: argparse.Namespace) -> str:
    """Return the report as Markdown: a table a section."""
    command = "python -m tests.verification"
    command += "" if given.scale == "full" else f" --scale {given.scale}"
    command += "".join(f" --part {part}" for part in given.part or ())
    command += f" -o {given.out}" if given.out else ""
    seconds = sum(part[1] for part in results)
    lines = [
        "# Verification of the processing element",
        "",
        f"Made by `{command}` in {seconds / 60:.0f} min on {os.cpu_count()} cores. Specification:",
        "[docs/pe_arithmetic.md](../docs/pe_arithmetic.md). A difference is a result, handshake",
        "or clock that is not what the specification says; for mutants it is one that no check",
        "notices.",
    ]
    found = [finding for _, _, findings in results for finding in findings]
    for section, findings in groupby(found, key=lambda finding: finding.part):
        lines += ["", f"## {section}", "", "| what | cases | differ | note |", "|---|---|---|---|"]
        for f in findings:
            what, note = _cell(f.what), _cell(f.note)
            lines.append(f"| {what} | {f.count:,} {f.unit} | {f.failures} | {note} |")
    return "\n".join([*lines, ""])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
