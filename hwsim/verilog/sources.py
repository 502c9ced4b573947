"""Where the Verilog lies: beside the packages in a checkout, inside them in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
RTL = _PACKAGE / "rtl" if (_PACKAGE / "rtl").is_dir() else _PACKAGE.parent / "rtl"
"""The folder of the Verilog."""
FILELIST = RTL / "filelist.f"
"""Its modules in the order in which they compile: what other tools read, too."""
INCLUDE = RTL / "include"
"""What they include."""


def sources() -> list[Path]:
    """Return the synthesisable files in the order in which they compile."""
    lines = (line.strip() for line in FILELIST.read_text(encoding="utf-8").splitlines())
    return [RTL / line for line in lines if line and not line.startswith(("//", "+"))]
