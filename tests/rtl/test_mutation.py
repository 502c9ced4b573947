"""Faults in the RTL and in the model are found: all of them, and a sample in every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.verification import mutation_model, mutation_rtl
from tests.verification.finding import Finding
from tests.verification.mutation_vectors import DESIGNS

LEAST = 0.95
"""The share of mutants that must be found."""


def all_found(findings: list[Finding]) -> None:
    total = sum(finding.count for finding in findings)
    alive = sum(finding.failures for finding in findings)
    words = [finding.note for finding in findings if finding.failures]
    assert total > 0
    assert total - alive >= LEAST * total, words


@pytest.mark.rtl
def test_a_sample_of_faults_in_the_rtl_is_found() -> None:
    all_found(mutation_rtl.run("quick"))


@pytest.mark.rtl
@pytest.mark.slow
def test_faults_in_the_rtl_are_found() -> None:
    all_found(mutation_rtl.run("full"))


def test_a_sample_of_faults_in_the_model_is_found() -> None:
    all_found(mutation_model.run("quick"))


@pytest.mark.slow
@pytest.mark.rtl
def test_without_vectors_every_mutant_that_differs_survives(tmp_path: Path) -> None:
    """The bench does not call mutants found that it never looked at."""
    from dataclasses import replace

    design = next(d for d in DESIGNS if d.name == "dequantizer")
    blind = replace(design, cases=lambda: iter([({}, {})]))
    found = mutation_rtl.mutate(blind, 10, tmp_path)
    assert found.alive + found.equivalent == 10
    assert found.alive >= 9


def test_every_mutant_of_the_model_has_its_place() -> None:
    for mutant in mutation_model.mutants():
        text = (mutation_model.ROOT / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, (mutant.file, mutant.old)
        assert mutant.old != mutant.new
    assert len(mutation_model.mutants()) >= 60
