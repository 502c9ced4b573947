"""What the drivers share: CPU seconds with those of children, silence of a package, sizes."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator


def sizes(description: str) -> tuple[int, int, int]:
    """Return M, N and K of the command line."""
    parser = argparse.ArgumentParser(description=description)
    for name in ("m", "n", "k"):
        parser.add_argument(name, type=int)
    given = parser.parse_args()
    return given.m, given.n, given.k


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its finished children."""
    found = os.times()
    return time.process_time() + found.children_user + found.children_system


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Let no print, log or progress bar through."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for number in (*kept, null):
            os.close(number)
