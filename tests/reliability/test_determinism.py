"""The same bytes for one thread and for two, and for any hash seed: a share of the campaign."""

from __future__ import annotations

import importlib

import pytest
import typer.main

from verification.reliability.determinism import CONDITIONS, compare
from verification.reliability.making import COMMANDS

FOLDERS = {("quant", "quantize"), ("quant", "export"), ("hwsim", "codesign")}
"""Commands whose ``--out`` is a folder: groups of their own."""


@pytest.mark.parametrize("group", ["formats"])
def test_same_bytes(group: str) -> None:
    (result,) = compare([group], CONDITIONS[:2])
    assert result.differing == ()
    assert result.files > 100


@pytest.mark.slow
@pytest.mark.parametrize("group", ["streams", "exports", "reports"])
def test_same_bytes_of_the_slower_groups(group: str) -> None:
    (result,) = compare([group])
    assert result.differing == ()
    assert result.files > 10


@pytest.mark.parametrize("program", ["quant", "roofline", "hwsim"])
def test_every_command_that_writes_a_file_is_compared(program: str) -> None:
    group = typer.main.get_command(importlib.import_module(f"{program}.cli").app)
    commands = getattr(group, "commands")  # noqa: B009  a group of click's, as typer makes it
    writing = {
        (program, name)
        for name, command in commands.items()
        if any("--out" in parameter.opts for parameter in command.params)
    }
    compared = {line[:2] for line in COMMANDS if line[0] == program}
    assert writing - FOLDERS == compared
