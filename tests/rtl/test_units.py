"""Every module of the PE and the array beside its specification, and misuse of each protocol."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from hwsim.verilog.export import files
from hwsim.verilog.sources import RTL
from hwsim.verilog.toolchain import environment
from tests.rtl.simulator import ARRAY, INCLUDES, PACKAGES, PE
from tests.rtl.units import (
    BENCHES,
    FULL,
    MISUSE,
    QUICK,
    SOURCES,
    assertions_of,
    build_units,
    run_units,
)

pytestmark = pytest.mark.rtl
MODULES = {name for names in BENCHES.values() for name in names}


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of the one build."""
    folder = tmp_path_factory.mktemp("units")
    build_units(folder)
    return folder


def test_the_generated_files_are_up_to_date() -> None:
    for name, text in files().items():
        assert (RTL / "generated" / name).read_text(encoding="utf-8") == text


def test_every_module_is_its_specification(units: Path) -> None:
    outcome = run_units(units, QUICK)
    assert (outcome.tests, outcome.failures) == (len(MODULES), 0)
    assert set(outcome.compared) == MODULES
    assert min(outcome.compared.values()) >= QUICK


@pytest.mark.slow
def test_every_module_is_its_specification_for_long(units: Path) -> None:
    outcome = run_units(units, FULL, seed=2)
    assert (outcome.tests, outcome.failures) == (len(MODULES), 0)
    assert set(outcome.compared) == MODULES
    assert min(outcome.compared.values()) >= FULL


@pytest.mark.parametrize("test", MISUSE)
def test_misuse_trips_its_assertion(units: Path, test: str) -> None:
    assert assertions_of(units, test) == (1, [MISUSE[test]])


def test_proper_use_trips_nothing(units: Path) -> None:
    assert assertions_of(units, "nothing_is_wrong") == (0, [])


@pytest.mark.parametrize(
    ("parameter", "said"),
    [
        ("DigitBits=3", "DigitBits == 1"),
        ("Rows=0", "Rows >= 1"),
        ("Columns=65", "Columns >= 1"),
        ("Lanes=65", "Lanes >= 1"),
        ("ExponentBits=1", "ExponentBits >= 2"),
        ("GuardBits=17", "GuardBits <= 16"),
        ("AccumulatorBits=29", "AccumulatorBits >= 8"),
        ("MaxBlocks=0", "MaxBlocks >= 1"),
    ],
)
def test_a_parameter_out_of_range_stops_the_elaboration(parameter: str, said: str) -> None:
    name = parameter.partition("=")[0]
    small = [f"-G{other}=1" for other in ("Rows", "Columns", "Lanes") if other != name]
    command = ["verilator", "--lint-only", "-Wno-lint", "--top-module", "tile", f"-G{parameter}"]
    command += [*small, f"-I{INCLUDES[0]}", *map(str, (*PACKAGES, *PE, *ARRAY))]
    variables = {**os.environ, **environment()}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "USERFATAL" in line]
    assert any(said in line for line in errors), done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "right", "wrong"),
    [
        ("weight_decoder.sv", "return '{sign: 1'b1, man: 1'b1, exp: 5'd1}", "return '0"),
        ("weight_decoder.sv", "^ {of.is_asymmetric, 7'b0}", ""),
        ("weight_decoder.sv", "if (step < 32'(of.steps))", "if (step + 1 < 32'(of.steps))"),
    ],
)
def test_a_broken_decoder_is_noticed(name: str, right: str, wrong: str, tmp_path: Path) -> None:
    sources = []
    for source in SOURCES:
        text = source.read_text(encoding="utf-8")
        copy = tmp_path / source.name
        copy.write_text(text.replace(right, wrong) if source.name == name else text)
        assert source.name != name or text.count(right) == 1
        sources.append(copy)
    build_units(tmp_path / "build", sources)
    assert run_units(tmp_path / "build", 1, benches=["tests.rtl.bench_decoders"]).failures == 1
