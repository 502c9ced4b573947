"""Where the Verilog lies: beside the packages in a checkout, inside them in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
RTL = _PACKAGE / "rtl" if (_PACKAGE / "rtl").is_dir() else _PACKAGE.parent / "rtl"
"""The folder of the Verilog."""
