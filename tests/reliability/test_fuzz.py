"""Damaged and made-up inputs at every edge: what was found before, and ten thousand new ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from verification.reliability.fuzz import EDGES, MOST_BYTES, MOST_S, OFTEN, fuzz
from verification.reliability.result import FuzzResult

CORPUS = Path(__file__).parent / "corpus"


@pytest.fixture(scope="module")
def found() -> dict[str, FuzzResult]:
    """Every edge with the corpus and the inputs of one seed, all in one process."""
    return {result.edge: result for result in fuzz(OFTEN, seed=0, corpus=CORPUS)}


def test_every_edge_is_tried(found: dict[str, FuzzResult]) -> None:
    assert found.keys() == EDGES.keys()
    assert sum(result.cases for result in found.values()) >= OFTEN
    for name, result in found.items():
        assert result.cases >= len(list((CORPUS / name).glob("*"))) + 20, name


@pytest.mark.parametrize("edge", EDGES)
def test_no_foreign_exception(found: dict[str, FuzzResult], edge: str) -> None:
    assert found[edge].foreign_tracebacks == []


@pytest.mark.parametrize("edge", EDGES)
def test_nothing_damaged_is_read_as_whole(found: dict[str, FuzzResult], edge: str) -> None:
    assert found[edge].wrong_acceptances == []


@pytest.mark.parametrize("edge", EDGES)
def test_time_and_memory(found: dict[str, FuzzResult], edge: str) -> None:
    assert found[edge].slowest_s <= MOST_S
    assert found[edge].peak_bytes <= MOST_BYTES


@pytest.mark.parametrize("edge", EDGES)
def test_inputs_reach_behind_the_first_check(found: dict[str, FuzzResult], edge: str) -> None:
    """Damage that all is refused, or none, tries nothing; a kept model is made anew instead."""
    assert found[edge].accepted > 0
    assert found[edge].refused > 0 or edge == "kept model"


def test_corpus_is_small_and_of_known_edges() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 200_000
    assert {path.parent.name for path in files} <= EDGES.keys()
