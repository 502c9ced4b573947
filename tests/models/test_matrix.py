"""Tiny models of many families: covered, kept, written and run again, in every method and way."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.models.families import Family
from verification.models.matrix import MEMORY, STREAM, run, ways
from verification.models.table import FAMILIES, family

QUICK = ("llama-tied", "gpt2", "qwen3-moe", "gpt-oss", "deepseek-v3", "mamba", "albert", "llava")
"""Families that differ most from each other."""


def assert_sound(chosen: Family, method: str, way: str, folder: Path) -> None:
    row = run(chosen, method, way, folder)
    assert row.layers > 0
    assert not row.faults, row.faults


def test_there_are_enough_families() -> None:
    assert len(FAMILIES) >= 25
    assert len({entry.name for entry in FAMILIES}) == len(FAMILIES)


@pytest.mark.parametrize("name", QUICK)
def test_a_streamed_model_is_the_one_in_memory(name: str, tmp_path: Path) -> None:
    assert_sound(family(name), "rtn", STREAM, tmp_path)


@pytest.mark.parametrize("name", ["qwen3-moe", "llama4", "mamba"])
def test_methods_that_look_at_inputs_reach_experts_and_state_spaces(
    name: str, tmp_path: Path
) -> None:
    assert_sound(family(name), "gptq", MEMORY, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "way"), ways())
@pytest.mark.parametrize("chosen", FAMILIES, ids=lambda entry: entry.name)
def test_every_family_in_every_way(chosen: Family, method: str, way: str, tmp_path: Path) -> None:
    assert_sound(chosen, method, way, tmp_path)


def test_what_stays_is_said_first(tmp_path: Path) -> None:
    row = run(family("llava"), "rtn", MEMORY, tmp_path)
    assert row.coverage < 0.95
    assert row.notes[0].startswith("only ")
    assert "tower of pixel_values" in row.notes[0]
