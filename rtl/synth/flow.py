"""All designs on all libraries: a few child processes at a time, results in the order asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from .designs import Design
from .liberty import Library
from .timing import ABSENT, Timing, analyse
from .yosys import Area, ToolError, synthesise


@dataclass(frozen=True)
class Settings:
    """How to synthesise: the delay that ABC aims at (ps), cells not to use, OpenSTA's program."""

    delay_ps: int
    dont_use: tuple[str, ...]
    sta: str | None


@dataclass(frozen=True)
class Result:
    """One design on one library (None: transistor counts); error is a tool's line, or empty."""

    design: Design
    library: Library | None
    area: Area | None
    timing: Timing
    error: str

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
    """Synthesise; tell of each result with its seconds, return them design by design."""

    def one(pair: tuple[Design, Library | None]) -> Result:
        started = time.monotonic()
        result = _one(*pair, settings)
        progress(result, time.monotonic() - started)
        return result

    pairs = [(design, library) for design in designs for library in libraries]
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        try:
            return list(pool.map(one, pairs))
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _one(design: Design, library: Library | None, settings: Settings) -> Result:
    none = Timing(None, None, "no timing: transistor counts know no delays")
    area = None
    with TemporaryDirectory(prefix="rtl-synth-") as name:
        folder = Path(name)
        try:
            area = synthesise(design, library, settings.delay_ps, settings.dont_use, folder)
            if library is None:
                timing = none
            elif settings.sta is None:
                timing = Timing(None, None, ABSENT)
            else:
                timing = analyse(settings.sta, design.top, library, area.registers, folder)
        except ToolError as error:
            # An area without its timing is still worth having.
            return Result(design, library, area, Timing(None, None, str(error)), str(error))
    return Result(design, library, area, timing, "")
