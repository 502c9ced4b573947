"""Every file in examples/ runs by the command in its first line; so does every help's example."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.docs.commands import COMMANDS, run_command
from tests.docs.markdown import ROOT
from tests.docs.small_model import in_place

# Those in Python: tests/docs/test_blocks.py.
EXAMPLES = sorted(p for p in (ROOT / "examples").iterdir() if p.suffix != ".py" and p.is_file())
# Commands that load or measure a model, or compare with all measurements: not seconds.
SLOW = (
    "quant eval", "quant quantize", "quant export", "roofline validate", "hwsim codesign",
    "hwsim margins",
)  # fmt: skip
# Smaller runs of what would take long: fewer tokens, fewer random plans.
SMALLER = {
    "hwsim sweep": ["--generate", "2"],
    "hwsim explore": ["--generate", "2"],
    "hwsim compare": ["--generate", "2"],
    "quant eval": ["--tokens", "2048", "--calibration-tokens", "512"],
    "quant quantize": ["--calibration-tokens", "512"],
    "hwsim margins": ["--tokens", "2048", "--random", "2"],
    "hwsim codesign": ["--tokens", "2048"],
}
# What the example of a command needs, made by another.
BEFORE = {
    "quant export": "quant quantize smollm2-135m --weights int4:g128 -o smollm2-int4",
}
# What a user brings along as mine.csv: measured kernels, here some of the built-in table's.
MEASURED = ROOT / "roofline/calibration/kernels.csv"


def command_of(path: Path) -> str:
    """The command in the first line of an example, after its comment sign."""
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs(path: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    words = shlex.split(command_of(path))
    assert f"examples/{path.name}" in words, "the first line must be the command that runs it"
    assert run_command([*words, *SMALLER.get(" ".join(words[:2]), [])], tmp_path)


def helps() -> dict[str, list[str]]:
    """Command to the examples in its help."""
    found = {}
    for name in COMMANDS:
        group: Any = typer.main.get_command(importlib.import_module(f"{name}.cli").app)
        for sub, command in sorted(group.commands.items()):
            text = re.sub(r"\\\n\s*", "", f"{command.help}\n{command.epilog}")
            found[f"{name} {sub}"] = re.findall(r"Example: (.+)", text)
    return found


HELPS = helps()


@pytest.mark.parametrize("command", HELPS)
def test_every_help_has_an_example_of_its_command(command: str) -> None:
    assert HELPS[command]
    assert all(line.startswith(f"{command} ") or line == command for line in HELPS[command])


def lines() -> list[Any]:
    """Examples as parameters, the long ones with the marker ``slow``."""
    return [
        pytest.param(line, id=line, marks=[pytest.mark.slow] if line.startswith(SLOW) else [])
        for found in HELPS.values()
        for line in found
    ]


@pytest.mark.parametrize("line", lines())
def test_the_example_of_a_help_runs(line: str, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    head, *rows = MEASURED.read_text(encoding="utf-8").splitlines()
    own = [row for row in rows if row.startswith("h100-sxm,")][:60]
    (tmp_path / "mine.csv").write_text("\n".join([head, *own]), encoding="utf-8")
    before = [text for command, text in BEFORE.items() if line.startswith(command)]
    for text in (*before, line):
        words = shlex.split(text)
        if line.startswith(SLOW):
            words = in_place(words, tmp_path)
        run_command([*words, *SMALLER.get(" ".join(words[:2]), [])], tmp_path)
