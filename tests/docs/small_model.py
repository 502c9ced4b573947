"""A small model in the place of the real one, for commands and texts that are marked slow.

The commands do all that they do, on two layers instead of thirty; the real model goes through them
in tests/hwsim/test_codesign.py and tests/quant/test_cli.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.own.tiny_llama import tiny_llama

REAL, SMALL = "smollm2-135m", "small-model"
POSITIONS = 2048


def in_place(words: Sequence[str], folder: Path) -> list[str]:
    """Return a command line with the small model, which is written to the folder."""
    if REAL not in words:
        return list(words)
    _write(folder)
    return [SMALL if word == REAL else word for word in words]


def in_text(text: str, folder: Path) -> str:
    """Return a Python text with the small model, which is written to the folder."""
    if f'"{REAL}"' not in text:
        return text
    _write(folder)
    return text.replace(f'"{REAL}"', f'"{SMALL}"')


def _write(folder: Path) -> None:
    if not (folder / SMALL).is_dir():
        tiny_llama(folder / SMALL, hidden=128, positions=POSITIONS)
