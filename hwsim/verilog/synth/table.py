"""Results as a table for the terminal, as Markdown, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hwsim.verilog.synth.flow import Result, Settings
from hwsim.verilog.synth.liberty import Library
from hwsim.verilog.synth.timing import ABSENT
from hwsim.verilog.synth.yosys import LOAD_FF

SCHEMA = "rtl-synth/1"
WIDTH = 100
NO_LIBERTY = (
    "No --liberty: transistor counts (NAND2, NOR2 and inverters; 16 for a flip-flop), no um2 or ns."
)
AT_LEAST = "+: flip-flops with asynchronous reset and latches are not in the transistor count."

TRIES = (
    "Median area of {} orders of the netlist's cells, and that one's paths; "
    "spread: largest less smallest."
)


@dataclass(frozen=True)
class Column:
    """A title and how to get its text; with several libraries, only the main ones are shown."""

    title: str
    text: Callable[[Result], str]
    is_main: bool = True


def number(value: float | None, digits: int) -> str:
    """Return a number, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}"


def _share(result: Result) -> float | None:
    area = result.area
    if area is None or not area.area_um2 or area.register_um2 is None:
        return None
    return 100 * area.register_um2 / area.area_um2


def _transistors(result: Result) -> str:
    if result.area is None:
        return "failed"
    return f"{result.area.transistors}{'' if result.area.transistors_exact else '+'}"


def _area(result: Result) -> str:
    return number(result.area.area_um2, 1) if result.area else "failed"


def _count(name: str) -> Callable[[Result], str]:
    return lambda result: str(getattr(result.area, name)) if result.area else "-"


def _arrival(name: str) -> Callable[[Result], str]:
    def text(result: Result) -> str:
        path = getattr(result.timing, name)
        return number(path.arrival_ns if path else None, 3)

    return text


KGE = Column("kGE", lambda result: number(result.kge, 3))
FLOPS = Column("FFs", _count("registers"), is_main=False)
LIBERTY_COLUMNS = (
    Column("area um2", _area),
    KGE,
    Column("cells", _count("cells"), is_main=False),
    FLOPS,
    Column("FF area %", lambda result: number(_share(result), 1), is_main=False),
    Column("path ns", _arrival("worst")),
    Column("reg ns", _arrival("registers")),
)
SPREAD = Column("spread%", lambda result: number(result.spread, 1))
COUNT_COLUMNS = (
    Column("transistors", _transistors),
    KGE,
    Column("gates", _count("cells")),
    FLOPS,
)


def _columns(library: Library | None, all_of_them: bool, tries: int) -> list[Column]:
    columns = COUNT_COLUMNS if library is None else LIBERTY_COLUMNS
    shown = [column for column in columns if all_of_them or column.is_main]
    return [shown[0], SPREAD, *shown[1:]] if tries > 1 else shown


def _notes(
    libraries: Sequence[Library | None], settings: Settings, tools: str, results: Sequence[Result]
) -> list[str]:
    aim = f", abc -D {settings.delay_ps} ps" if None not in libraries else ""
    notes = [f"{tools}{aim}. Cells only: ideal wires, no placement, no clock tree."]
    if settings.tries > 1:
        notes.append(TRIES.format(settings.tries))
    if None in libraries:
        notes.append(NO_LIBERTY)
    if any(result.area and not result.area.transistors_exact for result in results):
        notes.append(AT_LEAST)
    for library in filter(None, libraries):
        nand2 = number(library.nand2_um2, 4)
        gate = f"NAND2 {nand2} um2" if library.nand2_um2 else "no NAND2 of drive 1, so no kGE"
        drives = (
            f"inputs driven by {library.driver}"
            if library.driver
            else "no driver (no buffer or no delays)"
        )
        notes += [f"{library.name}:", f"  {gate}; {drives}; outputs loaded with {LOAD_FF:g} fF."]
    if None not in libraries and settings.sta is None:
        notes.append(ABSENT)
    return [*notes, *_proofs(results)]


def _proofs(results: Sequence[Result]) -> list[str]:
    """How the netlists are equal to their RTL, where that was asked."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.proof:
            found.setdefault(result.proof, []).append(result.design.name)
    return [
        f"Netlist and RTL {proof}: {', '.join(dict.fromkeys(n))}." for proof, n in found.items()
    ]


def _paths(results: Sequence[Result], libraries: Sequence[Library | None]) -> list[str]:
    lines = []
    for library in libraries:
        own = [_path(result) for result in results if result.library is library]
        said = [line for line in own if line]
        if said:
            title = f"Paths on {library.name} (start -> end):" if library else "Failed:"
            lines += [title, *said]
    return lines


def _path(result: Result) -> str:
    worst, between = result.timing.worst, result.timing.registers
    parts = [f"FAILED: {result.error}"] if result.error else []
    if not result.error and result.timing.note and result.timing.note != ABSENT and result.library:
        parts.append(result.timing.note)
    if worst:
        parts.append(f"{worst.start} -> {worst.end}")
    if between and between != worst:
        parts.append(f"reg-reg {between.start} -> {between.end}")
    return f"  {result.design.name}: {'; '.join(parts)}" if parts else ""


def as_table(
    results: Sequence[Result], libraries: Sequence[Library | None], settings: Settings, tools: str
) -> str:
    """Return plain text: as many libraries side by side as the width has room for."""
    names = list(dict.fromkeys(result.design.name for result in results))
    blocks = [
        _block(results, library, len(libraries) == 1, settings.tries) for library in libraries
    ]
    titles = ["", "design", *names]
    first = max(map(len, titles))
    lines: list[str] = []
    row = [f"{title:<{first}}" for title in titles]
    for block in blocks:
        if len(row[1]) > first and len(row[1]) + len(block[1]) + 3 > WIDTH:
            lines += [*row, ""]
            row = [f"{title:<{first}}" for title in titles]
        row = [f"{left} | {right}" for left, right in zip(row, block, strict=True)]
    lines += row
    notes = _notes(libraries, settings, tools, results)
    paths = _paths(results, libraries)
    text = [*lines, "", *paths, *([""] if paths else []), *notes]
    return "\n".join(line.rstrip() for line in text) + "\n"


def _block(
    results: Sequence[Result], library: Library | None, all_of_them: bool, tries: int
) -> list[str]:
    columns = _columns(library, all_of_them, tries)
    own = [result for result in results if result.library is library]
    cells = [[column.title for column in columns]]
    cells += [[column.text(result) for column in columns] for result in own]
    widths = [max(len(row[i]) for row in cells) for i in range(len(columns))]
    body = [
        "  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True))
        for row in cells
    ]
    title = library.name if library else "without a library"
    width = max(len(title), len(body[0]))
    return [f"{title:<{width}}", *(f"{line:>{width}}" for line in body)]


def as_markdown(
    results: Sequence[Result], libraries: Sequence[Library | None], settings: Settings, tools: str
) -> str:
    """Return one Markdown table, every column of every library."""
    titles = ["design"]
    rows = {result.design.name: [f"`{result.design.name}`"] for result in results}
    for library in libraries:
        prefix = f"{library.name}: " if library and len(libraries) > 1 else ""
        columns = _columns(library, True, settings.tries)
        titles += [prefix + column.title for column in columns]
        for result in results:
            if result.library is library:
                rows[result.design.name] += [column.text(result) for column in columns]
    table = [titles, ["---"] + ["---:"] * (len(titles) - 1), *rows.values()]
    lines = [f"| {' | '.join(row)} |" for row in table]
    paths = [f"    {line}" for line in _paths(results, libraries)]
    notes = [f"- {note}" for note in _notes(libraries, settings, tools, results)]
    return "\n".join([*lines, "", *paths, *([""] if paths else []), *notes]) + "\n"


def as_json(
    results: Sequence[Result], libraries: Sequence[Library | None], settings: Settings, tools: str
) -> str:
    """Return JSON without times and folders: the same wherever it is made."""
    data = {
        "schema": SCHEMA,
        "method": {
            "tools": tools,
            "delay_ps": settings.delay_ps if None not in libraries else None,
            "dont_use": list(settings.dont_use),
            "tries": settings.tries,
            "load_fF": LOAD_FF if None not in libraries else None,
            "wires": "ideal",
            "area": "cells only: no placement, no clock tree",
        },
        "libraries": [
            {
                "name": library.name,
                "file": library.file,
                "sha256": library.sha256,
                "nand2_um2": library.nand2_um2,
                "driver": library.driver,
            }
            for library in libraries
            if library
        ],
        "results": [_record(result) for result in results],
    }
    return json.dumps(data, indent=2) + "\n"


def _record(result: Result) -> dict[str, Any]:
    kge = result.kge
    timing = asdict(result.timing)
    return {
        "design": result.design.name,
        "group": result.design.group,
        "top": result.design.top,
        "parameters": dict(result.design.parameters),
        "library": result.library.name if result.library else None,
        "area": asdict(result.area) if result.area else None,
        "sizes": list(result.sizes),
        "arrivals_ns": list(result.arrivals),
        "kge": None if kge is None else round(kge, 6),
        "timing": timing,
        "proof": result.proof or None,
        "error": result.error or None,
    }
