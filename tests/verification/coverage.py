"""Coverage of ``rtl/pe`` and ``rtl/array``: line, branch and toggle in Verilator; functional.

What stays uncovered is listed in ``uncovered.toml`` with the reason; a point without a reason
counts as a failure.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from hwsim.pe.terms import pe_formats
from hwsim.verilog.sources import RTL
from tests.rtl.covered import LONGEST, Bin, average, coverpoints
from tests.rtl.machines import machine
from tests.rtl.simulator import ARRAY, PACKAGES, PE, ROOT, build
from tests.rtl.simulator import run as simulate
from tests.rtl.units import SOURCES, run_units
from tests.verification.finding import Finding

WANTED = 95.0
REASONS = Path(__file__).parent / "uncovered.toml"
TILE_SOURCES = [RTL / "tb/verilator.vlt", *PACKAGES, *PE, *ARRAY]
OPTIONS = ("--coverage-line", "--coverage-toggle", "-fno-table")
"""Functions that become tables would not count."""
KINDS = {"v_line": "line", "v_branch": "branch", "v_toggle": "toggle"}
FIELD = re.compile("\x01([a-z]+)\x02([^\x01']*)")
SEEDS = {"quick": 1000, "full": 4000}
"""Cases to choose from: those that meet a new functional bin run."""
COUNTS = {"quick": 3_000, "full": 30_000}


class Point(NamedTuple):
    """A place in the source; instances and parameter sets of a module count as one."""

    kind: str
    file: str
    line: int
    column: int
    what: str


SMALL = {"rows": 2, "columns": 2, "max_group": LONGEST}
TILES = {
    "fp16": {**SMALL, "digit_bits": 2, "arithmetic": {"exponent_bits": 5}},
    "bf16": {
        **SMALL, "digit_bits": 8, "skip_zero_steps": True, "arithmetic": {"activation": "bf16"},
    },
}  # fmt: skip
"""Functional coverage is that of the first; random BF16 activations also overflow to Inf."""


def tile_data(folder: Path, tile: Mapping[str, Any], seeds: int) -> tuple[Path, list[Bin]]:
    """Run cases on a tile; return its coverage file, and the bins that they met."""
    formats = pe_formats(tile["arithmetic"].get("exponent_bits", 2))
    build("axis_tile", TILE_SOURCES, folder, machine(dict(tile), formats).parameters, OPTIONS)
    settings = {"tile": tile, "formats": formats, "seeds": seeds}
    variables = {"TILE_BENCH": json.dumps(settings)}
    tests, failures = simulate("axis_tile", "tests.rtl.bench_covered_tile", folder, variables)
    log = (folder / "bench.log").read_text(encoding="utf-8")
    assert (tests, failures) == (1, 0), log[-3000:]
    found = [json.loads(text) for text in re.findall(r"covered (\[.*\])", log)]
    return folder / "coverage.dat", [Bin(*each) for case in found for each in case]


def units_data(folder: Path, count: int) -> Path:
    """Run the unit benches; return their coverage file."""
    build("units_top", SOURCES, folder, arguments=OPTIONS)
    outcome = run_units(folder, count)
    assert outcome.failures == 0
    return folder / "coverage.dat"


def merged(files: Sequence[Path], folder: Path) -> Path:
    """Merge coverage files with Verilator's tool; write an lcov file beside."""
    tool = shutil.which("verilator_coverage")
    if tool is None:
        pytest.fail("verilator_coverage is missing; scripts/apt.sh installs it")
    own = {name: value for name, value in os.environ.items() if name != "VERILATOR_ROOT"}
    for option, name in (("--write", "merged.dat"), ("--write-info", "coverage.info")):
        command = [tool, option, str(folder / name), *map(str, files)]
        subprocess.run(command, check=True, capture_output=True, env=own)
    return folder / "merged.dat"


def points(data: Path) -> Counter[Point]:
    """Return how often each point of the two folders was met."""
    found: Counter[Point] = Counter()
    for line in data.read_text(encoding="utf-8", errors="replace").splitlines():
        fields = dict(FIELD.findall(line))
        file = fields.get("f", "")
        kind = KINDS.get(fields.get("page", "").split("/")[0])
        if kind is None or not file.startswith((str(ROOT / "rtl/pe"), str(ROOT / "rtl/array"))):
            continue
        place = (str(Path(file).relative_to(ROOT)), int(fields["l"]), int(fields["n"]))
        found[Point(kind, *place, fields.get("o", ""))] += int(line.rsplit(" ", 1)[1])
    return found


def percent(counts: Mapping[Point, int]) -> float:
    """Return the part of the points that were met."""
    return 100 * sum(count > 0 for count in counts.values()) / len(counts)


def reasons() -> list[dict[str, Any]]:
    """Return why points are uncovered."""
    with REASONS.open("rb") as file:
        found: list[dict[str, Any]] = tomllib.load(file)["uncovered"]
    return found


def explains(reason: Mapping[str, Any], point: Point) -> bool:
    """Whether a reason is about a point: kind, file, lines if given, start of its name."""
    if point.kind not in reason["kinds"] or Path(point.file).name not in reason["files"]:
        return False
    line = (ROOT / point.file).read_text(encoding="utf-8").splitlines()[point.line - 1]
    named = re.match(reason.get("what", ""), point.what) is not None
    return named and re.search(reason.get("line", ""), line) is not None


def run(scale: str) -> list[Finding]:
    """Take all coverage.

    Args:
        scale: ``quick`` or ``full``.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files, bins = [units_data(folder / "units", COUNTS[scale])], []
        for key, tile in TILES.items():
            data, met = tile_data(folder / key, tile, SEEDS[scale])
            files.append(data)
            bins += met if key == "fp16" else []
        counts = points(merged(files, folder))
    return [*structural(counts), functional(bins, SEEDS[scale])]


def structural(counts: Mapping[Point, int]) -> list[Finding]:
    """Return a line for each kind of coverage.

    Points that no simulation can meet, or that Verilator does not count, are left out; the note
    has the percentage with them, too.
    """
    found, why = [], reasons()
    impossible = [reason for reason in why if reason.get("impossible")]
    for kind in KINDS.values():
        every = {point: count for point, count in counts.items() if point.kind == kind}
        missed = [point for point in every if every[point] == 0]
        left_out = {p for p in missed if any(explains(reason, p) for reason in impossible)}
        silent = [p for p in missed if not any(explains(reason, p) for reason in why)]
        share = percent({p: count for p, count in every.items() if p not in left_out})
        note = f"{share:.1f} % without {len(left_out)} impossible points, "
        note += f"{percent(every):.1f} % of all; {len(missed)} uncovered"
        note += f", without a reason: {len(silent)} {silent[:5]}" if silent else ""
        what = f"{kind} coverage of rtl/pe and rtl/array, at least {WANTED:.0f} %"
        failures = int(share < WANTED) + len(silent)
        found.append(Finding("coverage", what, len(every), "points", failures, note))
    return found


def functional(bins: Sequence[Bin], seeds: int) -> Finding:
    """Return the line of functional coverage: the mean of its coverpoints."""
    found = coverpoints(bins, pe_formats(5))
    share = average(found)
    note = f"{share:.1f} %: " + ", ".join(f"{name} {a}/{b}" for name, (a, b) in found.items())
    what = f"functional coverage, mean of the coverpoints, at least {WANTED:.0f} %"
    return Finding("coverage", what, seeds, "cases to choose from", int(share < WANTED), note)
