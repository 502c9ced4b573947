"""The map of rooms in docs/architecture.md says what each room says of itself, in their order."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.markdown import ROOT
from tests.test_rooms import ORDER

TEXT = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)/([\w./]+)` \| (.*) \|$", re.MULTILINE)


def place(package: str, room: str) -> str:
    """A room's path in its package: a folder, or a file at the top."""
    return f"{room}/" if (ROOT / package / room).is_dir() else f"{room}.py"


def sentence(path: Path) -> str:
    """The first line of a module's docstring, in Markdown."""
    file = path / "__init__.py" if path.is_dir() else path
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    return text.split("\n\n")[0].replace("\n", " ").replace("``", "`")


@pytest.mark.parametrize("package", ORDER)
def test_the_map_names_every_room_in_the_order_of_imports(package: str) -> None:
    named = [room for own, room, _ in ROW.findall(TEXT) if own == package]
    assert named == [place(package, room) for room in ORDER[package]]


@pytest.mark.parametrize(("package", "room", "text"), ROW.findall(TEXT))
def test_the_map_says_what_the_room_says(package: str, room: str, text: str) -> None:
    assert text == sentence(ROOT / package / room)
