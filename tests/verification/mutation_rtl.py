"""Faults in the RTL that its tests must find, and the record of what became of each.

``python -m tests.verification.mutation_rtl --seed 21`` judges the mutants of another choice and
adds them to the record, ``mutants_rtl.json``; a target and a seed that are there already are judged
anew. The whole record counts in the report.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from hwsim.verilog.sources import RTL
from quant.common.files import write_text
from tests.verification.finding import Finding
from tests.verification.mutants import Judged, Target, judge
from tests.verification.mutation_targets import TARGETS, UNSEEN

PART = "Mutants of the RTL"
RECORD = Path(__file__).with_name("mutants_rtl.json")
SEED = 20
QUICK = ("step_sequencer", "ping_pong_buffer", "dequantizer")
"""Targets of the quick sample."""


def judged(target: Target, seed: int) -> Judged:
    """Judge the mutants of a target in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        return judge(target, seed, Path(folder))


def run(scale: str) -> list[Finding]:
    """All targets, judged anew with the record's seeds, or a quick sample with the first one."""
    seeds = sorted({entry["seed"] for entry in record()}) if scale == "full" else [SEED]
    findings = []
    for target in TARGETS:
        if scale == "quick" and target.name not in QUICK:
            continue
        findings += [finding(target, judged(target, seed), seed) for seed in seeds]
    return findings


def finding(target: Target, found: Judged, seed: int) -> Finding:
    """Return the line of a target: mutants that behave like the original are no faults."""
    unseen = unobservable(target, found)
    named = [mutant for mutant in found.alive if mutant not in unseen]
    note = f"seed {seed}; {len(found.equivalent)} equivalent by SAT"
    if unseen:
        texts = sorted({f"{found.said(mutant)} ({why})" for mutant, why in unseen.items()})
        note += "; differ only where nothing can be seen: " + "; ".join(texts)
    if named:
        note += "; survive: " + "; ".join(found.said(mutant) for mutant in named)
    shares = ", ".join(f"{stem} {count}" for stem, count in target.shares.items())
    what = f"{shares}, judged by the vectors or the script that the tests run"
    differ = target.count - len(found.equivalent) - len(unseen)
    return Finding(PART, what, differ, "mutants that differ", len(named), note)


def unobservable(target: Target, found: Judged) -> dict[int, str]:
    """Return survivors that change no output in any run, and why."""
    reasons = {}
    for mutant in found.alive:
        line = found.lines[mutant - 1]
        source = _source(line)
        for reason in UNSEEN:
            fits = reason.target == target.name and reason.source in source
            if fits and all(part in line for part in reason.parts):
                reasons[mutant] = reason.why
    return reasons


def _source(line: str) -> str:
    """The first line of the Verilog that Yosys names for a mutation."""
    place = re.search(r"-src \S*?rtl/(\S+?\.sv):(\d+)", line)
    if place is None:
        return ""
    return (RTL / place[1]).read_text(encoding="utf-8").splitlines()[int(place[2]) - 1]


def record() -> list[dict[str, Any]]:
    """Return what was judged until now."""
    if not RECORD.exists():
        return []
    found: list[dict[str, Any]] = json.loads(RECORD.read_text(encoding="utf-8"))
    return found


def keep(target: Target, seed: int, found: Judged) -> None:
    """Put what became of a target's mutants into the record."""
    unseen = unobservable(target, found)
    entry = {
        "target": target.name,
        "seed": seed,
        "netlist": found.netlist,
        "mutants": dict(target.shares),
        "equivalent": list(found.equivalent),
        "unobservable": {str(mutant): why for mutant, why in unseen.items()},
        "alive": {str(m): found.said(m) for m in found.alive if m not in unseen},
    }
    others = [old for old in record() if (old["target"], old["seed"]) != (target.name, seed)]
    entries = sorted([*others, entry], key=lambda each: (each["target"], each["seed"]))
    write_text(RECORD, json.dumps(entries, indent=1) + "\n")


def main(arguments: Sequence[str] | None = None) -> None:
    """Judge targets and keep the results."""
    parser = argparse.ArgumentParser("tests.verification.mutation_rtl", description=__doc__)
    names = [target.name for target in TARGETS]
    parser.add_argument("--seed", type=int, default=SEED, help="of the choice of mutants")
    parser.add_argument("--target", choices=names, action="append", help="these only")
    given = parser.parse_args(arguments)
    for target in TARGETS:
        if given.target and target.name not in given.target:
            continue
        found = judged(target, given.seed)
        keep(target, given.seed, found)
        line = asdict(finding(target, found, given.seed))
        print(f"{target.name}: {line['failures']} of {line['count']} survive", flush=True)


if __name__ == "__main__":
    main()
