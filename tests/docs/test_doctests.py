"""Every example in a docstring of the packages gives what it says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

from tests.docs.commands import COMMANDS, strict_warnings
from tests.docs.markdown import ROOT

FLAGS = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def modules() -> list[str]:
    """The modules whose text has a prompt."""
    paths = [path for package in COMMANDS for path in sorted((ROOT / package).rglob("*.py"))]
    return [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths
        if ">>> " in path.read_text(encoding="utf-8")
    ]


@pytest.mark.parametrize("name", modules())
def test_examples_of_a_module(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    with strict_warnings():
        done = doctest.testmod(module, optionflags=FLAGS)
    assert done.attempted > 0, "a prompt that doctest does not find"
    assert done.failed == 0
