"""Decision records: one heading scheme, numbers without gaps, an index that names them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs/adr"
RECORDS = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
STATUS = re.compile(
    r"Status: (proposed|accepted|superseded), 20\d\d-\d\d-\d\d(?=$|;)", re.MULTILINE
)
SECTIONS = ["Context", "Decision", "Consequences"]


def title(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0]


def test_numbers_have_no_gap() -> None:
    numbers = [int(path.name[:4]) for path in RECORDS]
    assert numbers == list(range(1, len(RECORDS) + 1))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_one_heading_scheme(path: Path) -> None:
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", path.name)
    assert re.fullmatch(rf"# {int(path.name[:4])}\. \S.*[^.]", title(path))
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[1] == ""
    assert STATUS.match(lines[2])
    assert re.findall(r"^#+ (.*)$", text, re.MULTILINE)[1:] == SECTIONS
    parts = re.split(r"^## .*$", text, flags=re.MULTILINE)[1:]
    assert all(part.strip() for part in parts)


def test_the_index_names_every_record() -> None:
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"^(\d+)\. \[(.*)\]\((.*)\)$", text, re.MULTILINE)
    wanted = [
        (str(i), title(path).partition(". ")[2], path.name) for i, path in enumerate(RECORDS, 1)
    ]
    assert found == wanted
