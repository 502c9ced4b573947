"""Determinism: the same bytes for one thread and for two, and for any hash seed.

Everything is made in processes of their own, with a cache of their own each, and compared by
SHA-256 with names and modes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from verification.reliability.faults import CampaignError, Content, content, unlike
from verification.reliability.injection import scratch
from verification.reliability.making import GROUPS
from verification.reliability.result import DeterminismResult

LIMIT_S = 1800
"""Seconds for one group of results."""
MAY_DIFFER = (
    "codes of methods that calibrate (GPTQ, AWQ, SmoothQuant, OmniQuant, PEQA, clip): their "
    "factorizations, products and searches over inputs are torch's and the BLAS library's",
    "perplexities, expected losses (sensitivities) and, where two plans are within rounding of "
    "each other, the plan that is chosen",
    "figures: matplotlib's and its fonts' version",
)
"""What may differ between BLAS builds, processors and versions of libraries."""


@dataclass(frozen=True)
class Condition:
    """Under which a process runs.

    Attributes:
        threads: Of numba and torch.
        seed: PYTHONHASHSEED.
    """

    threads: int
    seed: str

    def __str__(self) -> str:
        threads = "1 thread" if self.threads == 1 else f"{self.threads} threads"
        return f"{threads}, hash seed {self.seed}"

    def environment(self, cache: Path) -> dict[str, str]:
        """Return the variables of the process."""
        names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
        fixed = {"HWSIM_CACHE": str(cache), "HWSIM_QUIET": "1", "PYTHONHASHSEED": self.seed}
        return {**os.environ, **dict.fromkeys(names, str(self.threads)), **fixed}


CONDITIONS = (Condition(1, "0"), Condition(2, "1"), Condition(2, "random"))


def compare(
    groups: Iterable[str] = GROUPS, conditions: Sequence[Condition] = CONDITIONS
) -> list[DeterminismResult]:
    """Make groups of results under each condition and compare them with the first.

    Raises:
        CampaignError: a group could not be made.
    """
    with scratch() as folder:
        base = Path(os.path.realpath(folder))
        inputs = base / "inputs"
        inputs.mkdir()
        _made("inputs", inputs, base, conditions[0])
        return [_compared(group, inputs, base / group, conditions) for group in groups]


def _compared(
    group: str, inputs: Path, base: Path, conditions: Sequence[Condition]
) -> DeterminismResult:
    made = [
        _made(group, inputs, base / str(index), condition)
        for index, condition in enumerate(conditions)
    ]
    differing = sorted({name for other in made[1:] for name in unlike(made[0], other)})
    files = sum(value.rpartition(" ")[2] != "" for value in made[0].values())
    shutil.rmtree(base)
    return DeterminismResult(group, files, tuple(map(str, conditions)), tuple(differing))


def _made(group: str, inputs: Path, base: Path, condition: Condition) -> Content:
    """Make a group in a process of its own; return what it wrote, the cache included."""
    from quant.common.cache import cache_dir

    out, cache = base / "out", base / "out" / "cache"
    cache.mkdir(parents=True)
    (cache / "packages").symlink_to(cache_dir().absolute() / "packages")
    line = [sys.executable, "-m", "verification.reliability.making", group, str(inputs), str(out)]
    done = subprocess.run(
        line,
        env=condition.environment(cache),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise CampaignError(f"{group}, {condition}: {done.returncode}: {done.stderr[-2000:]}")
    return {name: value for name, value in content(out).items() if "numba" not in name}
