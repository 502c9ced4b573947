"""The rooms import in one direction only: quant <- roofline <- hwsim (docs/adr/0001)."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FORBIDDEN = {"quant": {"roofline", "hwsim", "rtl"}, "roofline": {"hwsim", "rtl"}, "hwsim": {"rtl"}}


def imported_rooms(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("room", FORBIDDEN)
def test_no_import_goes_backwards(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files
    wrong = [(str(path), sorted(imported_rooms(path) & FORBIDDEN[room])) for path in files]
    assert [entry for entry in wrong if entry[1]] == []


def test_the_pe_reference_does_not_import_the_kernels() -> None:
    tree = ast.parse((ROOT / "hwsim/pe/reference.py").read_text(encoding="utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any("kernels" in (module or "") for module in modules)
