"""The weight decoder simulates equal to its table, and the bench notices a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwsim.pe.export import package
from tests.rtl.simulator import RTL, simulate

PACKAGE, MODULE = RTL / "generated/terms_pkg.sv", RTL / "pe/weight_decoder.sv"
BENCH = "tests.rtl.bench_weight_decoder"
pytestmark = pytest.mark.rtl


def test_the_generated_package_is_up_to_date() -> None:
    assert PACKAGE.read_text(encoding="utf-8") == package()


def test_every_code_of_every_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert simulate("weight_decoder", [PACKAGE, MODULE], BENCH, tmp_path, monkeypatch) == (3, 0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("3'b100:         booth = '{sign: 1'b1, man: 1'b1, exp: 2'd1}", "3'b100: booth = '0"),
        ("^ {facts_of.is_asymmetric, 7'b0}", ""),
        ("4'b1000, 1'b1}: return '{1'b1", "4'b1000, 1'b1}: return '{1'b0"),
    ],
)
def test_the_bench_notices_a_fault(
    right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = []
    for source in (PACKAGE, MODULE):
        sources.append(tmp_path / source.name)
        sources[-1].write_text(source.read_text().replace(right, wrong))
    assert any(source.read_text().count(right) for source in (PACKAGE, MODULE))
    failed = simulate("weight_decoder", sources, BENCH, tmp_path / "build", monkeypatch)[1]
    assert failed >= 1
