"""Random group dot products: kernels against the oracle, and both against the reference.

The run against the plain-integer reference goes over two processes and writes its counts to the
cache folder after every part, so that a run that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwsim.pe import pe_formats, term_table
from quant.common.cache import cache_dir
from quant.common.progress import progress_bar
from tests.verification.bias import FORMATS, GROUPS, said, side
from tests.verification.cases import (
    RULES,
    Tally,
    combinations,
    compare,
    random_case,
    random_cases,
)
from tests.verification.finding import Finding
from tests.verification.tensors import WORD_BITS, one_thread

ROOT = Path(__file__).parents[2]
COMPARED = ("activations", "arithmetic", "decompose", "operands", "product", "reference", "terms")
"""Modules of hwsim/pe that results come from, beside the kernels."""
PART = 1000
"""Group dot products of one part of the run against the reference, about."""


def against_oracle(count: int, seed: int = 0) -> Tally:
    """Compare the kernels with the oracle on ``count`` random group dot products."""
    tally = Tally()
    with progress_bar() as bar, one_thread():
        task = bar.add_task("kernels = oracle", total=count)
        for case in random_cases(count, seed):
            tally += compare(case)
            bar.update(task, completed=tally.count)
    return tally


def reference_part(name: str, number: int) -> Tally:
    """Compare kernels, oracle and reference on one part of a format's run, its number the seed."""
    rng = np.random.default_rng([number, *name.encode()])
    tally, width = Tally(), term_table(name).exponent_bits
    activations = list(WORD_BITS)
    for turn in range(5):
        rule = RULES[(number + turn) % len(RULES)]
        rule = replace(rule, activation=activations[turn], exponent_bits=width)
        groups = 4 if turn == number % 5 else 1
        shape = (5, PART // (25 * groups), int(rng.choice([4, 5, 8, 16, 24])))
        with one_thread():
            tally += compare(random_case(rng, name, rule, shape, groups), reference=True)
    return tally


def fingerprint() -> str:
    """Hash of the sources compared: counts of other sources do not go on."""
    files = [ROOT / "hwsim" / "pe" / f"{name}.py" for name in COMPARED]
    files += sorted((ROOT / "hwsim" / "pe" / "kernels").glob("*.py"))
    files += [Path(__file__).with_name(f"{name}.py") for name in ("cases", "oracle", "tensors")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def against_reference(
    per_format: int, folder: Path | None = None, processes: int = 2
) -> dict[str, Tally]:
    """Compare kernels, oracle and reference on that many group dot products of every format.

    Args:
        per_format: Group dot products of each format, or a few more.
        folder: Where the counts are kept; None: the cache folder.
        processes: That many parts at once.
    """
    path = (folder or cache_dir()) / f"verification-reference-{fingerprint()}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    state: dict[str, list[list[int]]] = json.loads(path.read_text()) if path.exists() else {}
    todo = _parts(per_format, state)
    context = multiprocessing.get_context("spawn")
    with progress_bar() as bar, ProcessPoolExecutor(processes, mp_context=context) as pool:
        task = bar.add_task("kernels = reference", total=len(todo))
        waiting: dict[Future[Tally], str] = {}
        while todo or waiting:
            while todo and len(waiting) < 2 * processes:
                name, number = todo.pop()
                waiting[pool.submit(reference_part, name, number)] = f"{name} {number}"
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                name, number_text = waiting.pop(future).split()
                result = future.result()
                entry = [int(number_text), result.count, result.failures]
                state.setdefault(name, []).append(entry)
                bar.advance(task)
            _write(path, state)
    return {name: _tally(per_format, state.get(name, [])) for name in pe_formats()}


def _parts(per_format: int, state: dict[str, list[list[int]]]) -> list[tuple[str, int]]:
    """The parts that are not there yet, last first."""
    parts = range(-(-per_format // PART))
    have = {(name, part[0]) for name, done in state.items() for part in done}
    every = [(name, number) for number in parts for name in pe_formats()]
    return [part for part in reversed(every) if part not in have]


def _tally(per_format: int, done: list[list[int]]) -> Tally:
    parts = -(-per_format // PART)
    kept = [Tally(count, failures) for number, count, failures in done if number < parts]
    return sum(kept, Tally())


def _write(path: Path, state: dict[str, list[list[int]]]) -> None:
    temporary = path.with_suffix(".part")
    temporary.write_text(json.dumps(state))
    temporary.replace(path)


def run(scale: str) -> list[Finding]:
    """Return the findings: ``quick`` a few seconds, ``full`` about an hour of CPU."""
    full = scale == "full"
    part, unit = "dot products", "group dot products"
    tally = against_oracle(10_000_000 if full else 40_000)
    note = f"{len(combinations())} combinations of format, activations and arithmetic; seed 0"
    found = [
        Finding(part, "kernels = oracle, bit for bit", tally.count, unit, tally.failures, note)
    ]
    if full:
        counts = against_reference(100_000)
        tally = sum(counts.values(), Tally())
        what = "kernels = oracle = plain-integer reference, bit for bit"
        least = min(entry.count for entry in counts.values())
        note = f"at least {least:,} of each of {len(counts)} formats"
        found.append(Finding(part, what, tally.count, unit, tally.failures, note))
    for groups in GROUPS:
        row = f"a row of {groups} groups of 128" if groups > 1 else "a group of 128"
        what = f"floor bias of {row} over mean |y|, normal data"
        count = 2 * len(FORMATS) * side(128, groups) ** 2
        found.append(Finding(part, what, count, "outputs", 0, said(groups)))
    return found
