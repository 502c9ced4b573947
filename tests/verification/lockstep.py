"""Drawn tiles in lock-step with their model, in compiled Verilog: many clocks of many machines."""

from __future__ import annotations

import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from quant.common.progress import progress_bar
from tests.rtl.machines import Machine, drawn_machines
from tests.rtl.tile_replay import build_replays, replay
from tests.rtl.tile_script import drawn_script
from tests.rtl.tile_twin import compiled_walk
from tests.verification.finding import Finding

PART = "Lock-step of drawn tiles (Verilator)"
SEED = 16
CLOCKS = {"quick": 240_000, "full": 100_000_000}
"""Of all machines together, at least."""
ROUNDS = {"quick": 1, "full": 4}
MACHINES = 12
CHUNK = 500_000
"""Clocks of a script: its files are written, replayed and forgotten."""


def run(scale: str = "full") -> list[Finding]:
    """Return a line a round: its machines run on two processes."""
    each = -(-CLOCKS[scale] // (ROUNDS[scale] * MACHINES))
    with progress_bar() as bar:
        task = bar.add_task("lock-step", total=ROUNDS[scale] * MACHINES)
        findings = []
        for number in range(ROUNDS[scale]):
            machines = drawn_machines(SEED + number, MACHINES)
            with tempfile.TemporaryDirectory() as folder:
                findings.append(_round(number, machines, each, Path(folder)))
            bar.advance(task, MACHINES)
    return findings


def _round(number: int, machines: list[Machine], clocks: int, folder: Path) -> Finding:
    """Machines side by side in one program, chunk by chunk."""
    # The runs are long here: what the compiler takes longer is won back.
    program = build_replays(machines, folder, optimization="-O2")
    chunks = range(-(-clocks // CHUNK))
    work = partial(_chunk, program, machines, SEED + number, min(clocks, CHUNK))
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        done = list(pool.map(work, chunks))
    count = sum(equal for equal, _ in done)
    differ = [text for _, text in done if text]
    what = f"{len(machines)} machines drawn by seed {SEED + number}, all parameters"
    note = differ[0] if differ else "formats, scales, stalls and resets mixed in every script"
    return Finding(PART, what, count, "clocks", len(differ), note)


def _chunk(
    program: Path, machines: list[Machine], seed: int, clocks: int, number: int
) -> tuple[int, str]:
    """Return the clocks that were equal, and what went wrong in words."""
    with tempfile.TemporaryDirectory() as name:
        for index, machine in enumerate(machines):
            script = drawn_script(machine, [seed, number, index], clocks, compiled_walk)
            script.write(Path(name), index)
        outcome = replay(program, Path(name), seed + number)
    count = sum(outcome.clocks.values())
    return count, "" if len(outcome.clocks) == len(machines) else outcome.text
