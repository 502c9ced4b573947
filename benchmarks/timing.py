"""Medians of wall and CPU time of repeated calls."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Median seconds of a call."""

    wall_s: float
    cpu_s: float


def measure(call: Callable[[], object], repeats: int = 5) -> Timing:
    """Call once to warm up, then ``repeats`` times."""
    call()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Timing(statistics.median(walls), statistics.median(cpus))
