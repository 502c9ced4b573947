"""Faults in the RTL and in the model are found: all on record, and a sample in every run."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from hwsim.verilog.sources import sources
from quant.common.progress import say
from tests.rtl.machines import seed_of_run
from tests.rtl.vectors import Design
from tests.verification import mutation_model, mutation_rtl
from tests.verification.finding import Finding
from tests.verification.mutants import judge
from tests.verification.mutation_targets import TARGETS

LEAST = 0.97
"""The share of mutants that must be found."""
MUTANTS = 900
"""On record, at least."""
UNMUTATED = {
    "axis_tile": "it has no logic, only wires: tests.rtl.tile_faults",
    "axil_tile": "tests.rtl.axil_faults",
    "axil_registers": "tests.rtl.axil_faults",
    "run_control": "tests.rtl.axil_faults",
}
"""Modules whose faults are written by hand, and where."""


def all_found(findings: list[Finding], least: float = LEAST) -> None:
    total = sum(finding.count for finding in findings)
    alive = sum(finding.failures for finding in findings)
    words = [finding.note for finding in findings if finding.failures]
    assert total > 0
    assert total - alive >= least * total, words


@pytest.mark.rtl
def test_a_sample_of_faults_in_the_rtl_is_found() -> None:
    all_found(mutation_rtl.run("quick"))


def test_the_record_has_enough_mutants_of_every_module() -> None:
    entries = mutation_rtl.record()
    alive = sum(len(entry["alive"]) for entry in entries)
    total = sum(sum(entry["mutants"].values()) for entry in entries)
    differ = total - sum(len(entry["equivalent"]) + len(entry["unobservable"]) for entry in entries)
    say(f"{total} mutants on record, {differ} differ, {alive} survive")
    assert total >= MUTANTS
    assert differ - alive >= LEAST * differ
    mutated = {stem for entry in entries for stem in entry["mutants"]}
    modules = {file.stem for file in sources() if not file.stem.endswith("_pkg")}
    assert mutated | set(UNMUTATED) == modules


@pytest.mark.rtl
@pytest.mark.slow
def test_a_drawn_part_of_the_record_holds() -> None:
    seed = seed_of_run()
    say(f"drawn by HWSIM_SEED={seed}")
    for entry in random.Random(seed).sample(mutation_rtl.record(), 2):
        target = next(target for target in TARGETS if target.name == entry["target"])
        found = mutation_rtl.judged(target, entry["seed"])
        line = mutation_rtl.finding(target, found, entry["seed"])
        say(f"{target.name}, seed {entry['seed']}: {line.failures} of {line.count} survive")
        if found.netlist == entry["netlist"]:
            assert list(found.equivalent) == entry["equivalent"]
            assert line.failures == len(entry["alive"])
        else:
            say("the record is of another netlist: run tests.verification.mutation_rtl")
        all_found([line], least=0.9)


def test_a_sample_of_faults_in_the_model_is_found() -> None:
    all_found(mutation_model.run("quick"), least=0.95)


@pytest.mark.slow
@pytest.mark.rtl
def test_without_vectors_every_mutant_that_differs_survives(tmp_path: Path) -> None:
    """The bench does not call mutants found that it never looked at."""
    target = next(target for target in TARGETS if target.name == "dequantizer")
    assert isinstance(target.bench, Design)
    blind = replace(target.bench, cases=lambda: iter([({}, {})]))
    found = judge(replace(target, bench=blind, shares={"dequantizer": 10}), 20, tmp_path)
    assert len(found.alive) + len(found.equivalent) == 10
    assert len(found.alive) >= 9


def test_every_mutant_of_the_model_has_its_place() -> None:
    for mutant in mutation_model.mutants():
        text = (mutation_model.ROOT / mutant.file).read_text(encoding="utf-8")
        assert text.count(mutant.old) == 1, (mutant.file, mutant.old)
        assert mutant.old != mutant.new
    assert len(mutation_model.mutants()) >= 60
