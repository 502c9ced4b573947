"""All designs on all libraries: a few child processes at a time, results in the order asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from hwsim.verilog.synth.designs import Design
from hwsim.verilog.synth.liberty import Library
from hwsim.verilog.synth.proof import prove
from hwsim.verilog.synth.timing import ABSENT, Timing, analyse
from hwsim.verilog.synth.yosys import Area, ToolError, synthesise


@dataclass(frozen=True)
class Settings:
    """How to synthesise: the delay that ABC aims at (ps), cells not to use, OpenSTA's program.

    tries: netlists with their cells in another order; ABC's result depends on it, by some per cent.
    prove: Whether every netlist is proved equal to its RTL.
    """

    delay_ps: int
    dont_use: tuple[str, ...]
    sta: str | None
    tries: int
    prove: bool = False


@dataclass(frozen=True)
class Result:
    """One design on one library (None: transistor counts); error is a tool's line, or empty.

    sizes: um2 or transistors of all tries, ascending; arrivals: their worst paths, ns, in the same
    order; the rest is of the try in the middle. proof: how the netlist is equal to its RTL; empty
    where that was not asked.
    """

    design: Design
    library: Library | None
    area: Area | None
    timing: Timing
    error: str
    sizes: tuple[float, ...] = ()
    arrivals: tuple[float | None, ...] = ()
    proof: str = ""

    @property
    def size(self) -> float:
        """Area in um2, or transistors; 0 if it failed."""
        return (self.area.area_um2 or self.area.transistors or 0.0) if self.area else 0.0

    @property
    def spread(self) -> float | None:
        """Largest less smallest of several tries, in per cent of the one in the middle."""
        if len(self.sizes) < 2 or not self.size:
            return None
        return 100 * (self.sizes[-1] - self.sizes[0]) / self.size

    @property
    def kge(self) -> float | None:
        """Thousands of gate equivalents: NAND2s of drive 1, or four transistors each."""
        if self.area is None:
            return None
        if self.area.transistors is not None:
            return self.area.transistors / 4000
        nand2 = self.library.nand2_um2 if self.library else None
        return self.area.area_um2 / nand2 / 1000 if nand2 and self.area.area_um2 else None


def run(
    designs: Sequence[Design],
    libraries: Sequence[Library | None],
    settings: Settings,
    jobs: int,
    progress: Callable[[Result, float], None],
) -> list[Result]:
    """Synthesise; tell of each try with its seconds, return a result per design and library."""

    def one(task: tuple[Design, Library | None, int]) -> Result:
        started = time.monotonic()
        result = _try(*task, settings)
        progress(result, time.monotonic() - started)
        return result

    pairs = [(design, library) for design in designs for library in libraries]
    tasks = [(*pair, seed) for pair in pairs for seed in range(settings.tries)]
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            tried = list(pool.map(one, tasks))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    every = settings.tries
    return [middle(tried[i : i + every]) for i in range(0, len(tried), every)]


def middle(tries: Sequence[Result]) -> Result:
    """Return the try with the (lower) median size; a failed one if there is any."""
    failed = next((result for result in tries if result.error), None)
    order = sorted(tries, key=lambda result: result.size)
    sizes = tuple(result.size for result in order)
    paths = [result.timing.worst for result in order]
    arrivals = tuple(path.arrival_ns if path else None for path in paths)
    return failed or replace(order[(len(order) - 1) // 2], sizes=sizes, arrivals=arrivals)


def _try(design: Design, library: Library | None, seed: int, settings: Settings) -> Result:
    none = Timing(None, None, "no timing: transistor counts know no delays")
    area, proof = None, ""
    with TemporaryDirectory(prefix="rtl-synth-") as name:
        folder = Path(name)
        try:
            area = synthesise(design, library, settings.delay_ps, settings.dont_use, seed, folder)
            if settings.prove:
                proof = prove(design, library, folder)
            if library is None:
                timing = none
            elif settings.sta is None:
                timing = Timing(None, None, ABSENT)
            else:
                timing = analyse(settings.sta, design.top, library, area.registers, folder)
        except ToolError as error:
            # An area without its timing is still worth having.
            return Result(design, library, area, Timing(None, None, str(error)), str(error))
    return Result(design, library, area, timing, "", proof=proof)
