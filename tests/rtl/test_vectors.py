"""Vectors of every module below the tile, on the RTL: what mutants are judged by."""

from __future__ import annotations

from pathlib import Path

import pytest

from quant.common.progress import say
from tests.rtl.designs import DESIGNS
from tests.rtl.vector_bench import run_on_rtl

pytestmark = pytest.mark.rtl


def test_every_module_shows_what_its_vectors_say(tmp_path: Path) -> None:
    outcome = run_on_rtl(DESIGNS, tmp_path)
    say(f"{len(outcome.equal)} of {len(DESIGNS)} are equal")
    differ = [design.name for index, design in enumerate(DESIGNS) if index not in outcome.equal]
    assert not differ, (differ, outcome.text)
