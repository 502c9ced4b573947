"""The PE's registers, clock by clock, on two simulators: published and default accumulators."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rtl.pe_simulators import FULL, QUICK, RULES, SIMULATORS, play
from tests.rtl.pe_vectors import write_vectors

pytestmark = pytest.mark.rtl
WIDTHS = pytest.mark.parametrize("width", RULES)
BOTH = pytest.mark.parametrize("simulator", SIMULATORS)


@BOTH
@WIDTHS
def test_every_clock_is_the_specifications(tmp_path: Path, simulator: str, width: str) -> None:
    write_vectors(tmp_path / "vectors", RULES[width], QUICK, seed=1)
    program = SIMULATORS[simulator](tmp_path / "build", RULES[width])
    checked, mismatches, text = play(program, tmp_path / "vectors")
    assert mismatches == 0, text
    assert checked > 0.99 * QUICK


@pytest.mark.slow
@BOTH
@WIDTHS
def test_every_clock_of_many(tmp_path: Path, simulator: str, width: str) -> None:
    write_vectors(tmp_path / "vectors", RULES[width], FULL + 100, seed=2)
    program = SIMULATORS[simulator](tmp_path / "build", RULES[width])
    checked, mismatches, text = play(program, tmp_path / "vectors")
    assert mismatches == 0, text
    assert checked >= FULL


@BOTH
def test_a_wrong_expectation_is_reported(tmp_path: Path, simulator: str) -> None:
    write_vectors(tmp_path / "vectors", RULES["default"], 1000, seed=3)
    lines = (tmp_path / "vectors").read_text().splitlines()
    *fields, wanted = lines[500].split()
    lines[500] = " ".join([*fields, f"{int(wanted, 16) ^ 1:x}"])
    (tmp_path / "vectors").write_text("\n".join(lines) + "\n")
    program = SIMULATORS[simulator](tmp_path / "build", RULES["default"])
    assert play(program, tmp_path / "vectors")[1] == 1


def test_a_missing_icarus_is_said_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(pytest.fail.Exception, match=r"scripts/apt\.sh"):
        SIMULATORS["icarus"](tmp_path, RULES["default"])
