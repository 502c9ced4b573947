"""The child process: one design through Yosys, in the current folder.

A fresh process for each design, since in one process the same module's area varied by 4 % with what
had been synthesised before it. Reads the passes from passes.json; Yosys leaves its files here.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path


def main() -> None:
    """Run the passes; where one fails, Yosys says ERROR and ends the process with code 1."""
    ys = importlib.import_module("pyosys.libyosys")  # it has no types

    design = ys.Design()
    for line in json.loads(Path("passes.json").read_text(encoding="utf-8")):
        ys.run_pass(line, design)


if __name__ == "__main__":
    main()
