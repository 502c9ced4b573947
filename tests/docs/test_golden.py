"""tests/golden/README.md names every golden file, its source, licence and maker; and no other."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests/golden"
TEXT = (FOLDER / "README.md").read_text(encoding="utf-8")
# The names under which datatypes.npz keeps a producer, where the README's differs.
PRODUCERS = {
    "bitmod": "BitMoD", "bitmod_awq": "BitMoD", "huawei_hifx": "HiF4", "olive": "OliVe",
    "quanto": "optimum-quanto", "sklearn_squeezellm": "scikit-learn", "gptq_official": "GPTQ",
    "bitmod_hpca25": "BitMoD HPCA-25",
}  # fmt: skip


def rows() -> dict[str, list[str]]:
    """The other cells of each row whose first cell is a file."""
    found = {}
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        name = re.fullmatch(r"\|? ?`([\w.]+\.(?:npz|json))`", cells[0])
        if name:
            found[name[1]] = cells[1:]
    return found


def test_every_file_is_named_and_every_name_is_a_file() -> None:
    assert sorted(rows()) == sorted(p.name for p in FOLDER.iterdir() if p.name != "README.md")


@pytest.mark.parametrize("name", rows())
def test_a_row_says_what_whence_under_which_licence_and_how(name: str) -> None:
    cells = rows()[name]
    assert len(cells) == 4
    assert all(cells)
    script = re.match(r"`(scripts/\w+\.py)`", cells[-1])
    assert (ROOT / script[1]).is_file() if script else cells[-1].startswith("no script: ")


def test_every_producer_of_data_types_has_a_row() -> None:
    with np.load(FOLDER / "datatypes.npz") as data:
        names = {key.split("|")[1] for key in data.files} - {"in"}
    table = TEXT.partition("| producer |")[2].lower()
    for name in names:
        plain = re.sub(r"[\d.]+$", "", name) if name not in PRODUCERS else name
        assert PRODUCERS.get(plain, plain).replace("_", "-").lower() in table.replace("_", "-")


@pytest.mark.slow
def test_the_script_makes_the_file_again() -> None:
    script = ROOT / "scripts/golden_model_parameters.py"
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 differ" in done.stdout
