"""The child process: one design through Yosys, in the current folder.

A fresh process for each design, since in one process the same module's area varied by 4 % with what
had been synthesised before it. Reads request.json: passes to run before and after the netlist's
cells are put into another order (seed 0: as they are). Yosys leaves its files here.
"""

from __future__ import annotations

import importlib
import json
import random
import re
from pathlib import Path

CELL = re.compile(r"(?:^  attribute .*\n)*^  cell .*\n(?:^    .*\n)*^  end\n", re.MULTILINE)
RTLIL = "shuffled.il"


def shuffle(text: str, seed: int) -> str:
    """Return a flat RTLIL module with its cells in another order: the same netlist."""
    cells = CELL.findall(text)
    if not cells:
        return text
    first = text.index(cells[0])
    rest = CELL.sub("", text[first:])
    random.Random(seed).shuffle(cells)
    return text[:first] + "".join(cells) + rest


def main() -> None:
    """Run the passes; where one fails, Yosys says ERROR and ends the process with code 1."""
    ys = importlib.import_module("pyosys.libyosys")  # it has no types
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    design = ys.Design()
    for line in request["before"]:
        ys.run_pass(line, design)
    if request["seed"]:
        ys.run_pass(f"write_rtlil {RTLIL}", design)
        text = Path(RTLIL).read_text(encoding="utf-8")
        Path(RTLIL).write_text(shuffle(text, request["seed"]), encoding="utf-8")
        ys.run_pass("design -reset", design)
        ys.run_pass(f"read_rtlil {RTLIL}", design)
    for line in request["after"]:
        ys.run_pass(line, design)


if __name__ == "__main__":
    main()
