"""Run the campaign of reliability and write its report.

``python -m verification.reliability -o reports/reliability.md``; ``--scale quick`` takes a sample
of the faults and 10,000 inputs, ``full`` (default) every file operation and a million inputs: some
hours on two cores. Linux and a C compiler are needed.
"""

from __future__ import annotations

if __name__ == "__main__":  # the boundary first, then the imports below
    from quant.common.start import start

    start("python -m verification.reliability", "verification.reliability.__main__:main")

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from quant.common.errors import HwsimError, RequestError
from quant.common.files import write_text
from quant.common.output import check_place
from verification.reliability.determinism import compare
from verification.reliability.faults import CampaignError, inject
from verification.reliability.fuzz import LONG, OFTEN, fuzz
from verification.reliability.injection import can_inject
from verification.reliability.making import GROUPS
from verification.reliability.report import Findings
from verification.reliability.result import DeterminismResult, FaultResult
from verification.reliability.trials import ALL

PARTS = ("faults", "determinism", "fuzz")
SAMPLE = 6
"""File operations for each fault of a job, where a sample is taken."""


def main() -> int:
    """Run the parts; return 1 if anything failed."""
    asked = _asked()
    if asked.out is not None:
        check_place(asked.out)
    if "faults" in asked.part and not can_inject():
        raise RequestError("faults can be injected on Linux with a C compiler (cc) only")
    begin = time.monotonic()
    try:
        found = _found(asked, begin)
    except CampaignError as error:
        raise HwsimError(f"the campaign was cut: {error}") from None
    text = found.markdown()
    if asked.out is None:
        print(text, end="")
    else:
        write_text(asked.out, text)
    return 1 if found.failures else 0


def _found(asked: argparse.Namespace, begin: float) -> Findings:
    parts, is_quick = asked.part, asked.scale == "quick"
    command = shlex.join(["python", "-m", "verification.reliability", *sys.argv[1:]])
    faults = list(_faults(asked, begin)) if "faults" in parts else []
    same = list(_determinism(begin)) if "determinism" in parts else []
    inputs = []
    if "fuzz" in parts:
        count = OFTEN if is_quick else LONG
        _say(begin, f"fuzz: {count} inputs ...")
        inputs = fuzz(count, asked.seed)
    return Findings(command, faults, same, inputs)


def _faults(asked: argparse.Namespace, begin: float) -> Iterator[FaultResult]:
    for job in ALL:
        _say(begin, f"faults: {job} ...")
        for result in inject([job], SAMPLE if asked.scale == "quick" else None):
            failed = f"{len(result.failed)} failed"
            _say(begin, f"{result.job}: {result.fault}: {result.points} operations, {failed}")
            yield result


def _determinism(begin: float) -> Iterator[DeterminismResult]:
    for group in GROUPS:
        _say(begin, f"determinism: {group} ...")
        yield from compare([group])


def _say(begin: float, text: str) -> None:
    """Print progress on standard error."""
    print(f"[{time.monotonic() - begin:6.0f} s] {text}", file=sys.stderr, flush=True)


def _asked() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m verification.reliability", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--scale", choices=("quick", "full"), default="full")
    parser.add_argument(
        "--part", choices=PARTS, action="append", help="only this part; may be repeated"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the inputs of the fuzz")
    parser.add_argument("-o", "--out", type=Path, help="Markdown file (default: standard output)")
    asked = parser.parse_args()
    asked.part = asked.part or list(PARTS)
    return asked
