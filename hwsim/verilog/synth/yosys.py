"""Synthesis of one design in a child process: the passes, and what Yosys says of the result."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwsim.verilog.sources import RTL
from hwsim.verilog.synth.designs import Design
from hwsim.verilog.synth.liberty import Library
from quant.common.errors import HwsimError

LOAD_FF = 10.0
"""Load of every output, fF: about the input of a few small gates."""
NETLIST = "netlist.v"
RTLIL = "netlist.il"
LIBERTY = "library.lib"
WORKER = Path(__file__).resolve().with_name("worker.py")
"""Run as a file, since a child process needs nothing of the package."""
NEAR = re.compile(r"^\.\./[^:]+")  # a file, from the child's folder
ERROR = re.compile(r"error:", re.IGNORECASE)
# Transistors are known of the plain flip-flop alone: enables and synchronous resets become gates.
PLAIN_FLOPS = "dfflegalize -cell $_DFF_P_ 01 -cell $_DFF_P??_ 01 -cell $_DLATCH_P_ 01"


class ToolError(HwsimError):
    """A tool refused a design: its first line about it."""


@dataclass(frozen=True)
class Area:
    """What a mapped design takes: um2 with a Liberty file, transistors without.

    transistors_exact is false where latches or flip-flops with asynchronous reset go uncounted.
    """

    cells: int
    registers: int
    area_um2: float | None
    register_um2: float | None
    transistors: int | None
    transistors_exact: bool
    cells_by_type: Mapping[str, int]


def elaboration(top: str) -> list[str]:
    """Return the Yosys commands that make a netlist of generic cells."""
    return [
        f"read_slang --single-unit --ignore-assertions --top {top} -f sources.f",
        f"synth -flatten -top {top}",
        "delete */t:$scopeinfo",
        "rename -wire */t:$_*DFF*",  # flip-flops get their signals' names: paths can be read
    ]


def mapping(library: Library | None, delay_ps: int, bans: Sequence[str]) -> list[str]:
    """Return the Yosys commands that map the netlist; they write files of the current folder."""
    if library is None:
        count = "tee -q -o stat.json stat -tech cmos -json"
        return [PLAIN_FLOPS, "abc -g cmos2", "opt_clean -purge", count, f"write_rtlil {RTLIL}"]
    banned = "".join(f" -dont_use {pattern}" for pattern in bans)
    constraint = " -constr constr" if library.driver else ""
    return [
        f"dfflibmap -liberty {LIBERTY}{banned}",
        f"abc -liberty {LIBERTY} -D {delay_ps}{constraint}{banned}",
        "opt_clean -purge",
        f"tee -q -o stat.json stat -liberty {LIBERTY} -json",
        # OpenSTA 2.0.17 reads neither concatenations on the left nor expressions.
        f"write_verilog -simple-lhs -noattr -noexpr {NETLIST}",
        f"write_rtlil {RTLIL}",
    ]


def synthesise(
    design: Design,
    library: Library | None,
    delay_ps: int,
    bans: Sequence[str],
    seed: int,
    folder: Path,
) -> Area:
    """Synthesise a design in a fresh process; the netlist stays in the folder.

    Raises:
        ToolError: Yosys refuses it.
    """
    after = mapping(library, delay_ps, bans)
    (folder / "sources.f").write_text(_arguments(design), encoding="utf-8")
    if library is not None:
        # By a name of its own, since Yosys's commands do not take every path.
        (folder / LIBERTY).symlink_to(library.path)
        if library.driver:
            text = f"set_driving_cell {library.driver}\nset_load {LOAD_FF} [all_outputs]\n"
            (folder / "constr").write_text(text, encoding="utf-8")
    run_passes(elaboration(design.top), folder, seed, after)
    return read_stat(json.loads((folder / "stat.json").read_text(encoding="utf-8")), library)


def _arguments(design: Design) -> str:
    """Return slang's argument file: quoted, so that a path may have spaces."""
    folders = [f'-I "{RTL / "include"}"'] if (RTL / "include").is_dir() else []
    values = [f'-G "{name}={value}"' for name, value in design.parameters]
    return "\n".join([*folders, *values, *(f'"{path}"' for path in design.sources)])


def run_passes(
    before: Sequence[str], folder: Path, seed: int = 0, after: Sequence[str] = ()
) -> None:
    """Run Yosys's passes in a folder, in a process of their own.

    Args:
        before: The first passes.
        folder: Where they run.
        seed: Other than 0: then the netlist's cells are put into another order.
        after: The passes that follow.

    Raises:
        ToolError: one of them failed.
    """
    request = {"before": list(before), "seed": seed, "after": list(after)}
    (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-P", str(WORKER)],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip().splitlines()
        first = next((line for line in said if ERROR.search(line)), said[-1] if said else "")
        first = NEAR.sub(lambda file: str((folder / file[0]).resolve()), first.strip())
        raise ToolError(f"Yosys: {first or f'ended with code {done.returncode}'}")


def read_stat(stat: Mapping[str, Any], library: Library | None) -> Area:
    """Return Yosys's statistics; a cell that the library lacks was not mapped, and is refused."""
    found = stat["design"]
    types = {str(key): int(value) for key, value in found["num_cells_by_type"].items()}
    if library is None:
        said = str(found["estimated_num_transistors"])
        registers = sum(n for name, n in types.items() if "DFF" in name or "LATCH" in name)
        exact = not said.endswith("+")
        cells = sum(types.values())
        return Area(cells, registers, None, None, int(said.rstrip("+")), exact, types)
    missing = sorted(name for name in types if name not in library.cells)
    if missing:
        raise ToolError(f"Yosys: the Liberty file has no cell for {', '.join(missing)}")
    stored = {name: n for name, n in types.items() if library.cells[name].is_register}
    return Area(
        cells=sum(types.values()),
        registers=sum(stored.values()),
        area_um2=_area(types, library),
        register_um2=_area(stored, library),
        transistors=None,
        transistors_exact=True,
        cells_by_type=types,
    )


def _area(types: Mapping[str, int], library: Library) -> float:
    return round(sum(n * library.cells[name].area_um2 for name, n in types.items()), 6)
