"""The synthesis flow: areas add up, the same twice, paths are whole gates."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from tests.rtl.synth_cases import (
    AREAS,
    designs,
    library,
    results,
    run,
    write_liberty,
)

pytestmark = pytest.mark.rtl


@pytest.fixture
def liberty(tmp_path: Path) -> Path:
    return write_liberty(tmp_path)


def test_without_a_library_transistors_are_counted_the_same_twice() -> None:
    first, second = (results("--design", "decoder-all") for _ in range(2))
    assert first == second
    assert first[0]["area"]["transistors"] > 0
    assert first[0]["area"]["area_um2"] is None
    assert "transistor counts" in run("--design", "decoder-all").stdout


def test_area_is_the_sum_of_the_cells(tmp_path: Path, liberty: Path) -> None:
    found = results("--liberty", liberty, "--designs", designs(tmp_path))[0]
    area = found["area"]
    total = sum(count * AREAS[name] for name, count in area["cells_by_type"].items())
    assert area["area_um2"] == pytest.approx(total)
    assert (area["registers"], area["register_um2"]) == (4, 36.0)
    assert area["cells"] == sum(area["cells_by_type"].values())
    assert found["kge"] == pytest.approx(total / AREAS["NAND2_X1"] / 1000)


def test_the_path_between_registers_is_a_flip_flop_and_whole_gates(
    tmp_path: Path, liberty: Path
) -> None:
    if shutil.which("sta") is None:
        pytest.fail("OpenSTA (`sta`) is missing; scripts/apt.sh installs it")
    timing = results("--liberty", liberty, "--designs", designs(tmp_path))[0]["timing"]
    for path in (timing["worst"], timing["registers"]):
        assert path["start"].startswith("count_o[")
        assert path["end"].startswith("count_o[")
        assert path["arrival_ns"] >= 2 + 2
        assert path["arrival_ns"] == round(path["arrival_ns"])


def test_a_library_without_delays_gives_areas(tmp_path: Path, liberty: Path) -> None:
    liberty.write_text(library(has_delays=False), encoding="utf-8")
    found = results("--liberty", liberty, "--designs", designs(tmp_path))[0]
    assert found["area"]["registers"] == 4
    assert found["timing"]["worst"] is None
    assert found["timing"]["note"]


def test_parameters_reach_the_module(tmp_path: Path, liberty: Path) -> None:
    file = designs(tmp_path, parameters="Width = 7")
    assert results("--liberty", liberty, "--designs", file)[0]["area"]["registers"] == 7


def test_flip_flops_with_reset_count_as_transistors(tmp_path: Path) -> None:
    area = results("--designs", designs(tmp_path))[0]["area"]
    assert area["transistors"] > 4 * 16
    assert area["transistors_exact"]


def test_a_gzipped_library_is_the_same(tmp_path: Path, liberty: Path) -> None:
    packed = tmp_path / "tiny.lib.gz"
    packed.write_bytes(gzip.compress(liberty.read_bytes()))
    plain, unpacked = results(
        "--liberty", liberty, "--liberty", packed, "--designs", designs(tmp_path)
    )
    assert plain == unpacked


def test_without_opensta_the_area_is_still_there(tmp_path: Path, liberty: Path) -> None:
    code = (
        "import os, sys; os.environ['PATH'] = '/nowhere'; "
        "from hwsim.verilog.synth.__main__ import main; main()"
    )
    done = run("--liberty", liberty, "--designs", designs(tmp_path), code=code)
    assert done.returncode == 0
    assert "(`sta`) is not on PATH" in done.stdout


def test_the_file_is_written_as_asked(tmp_path: Path, liberty: Path) -> None:
    out = tmp_path / "area.md"
    arguments = ("--liberty", liberty, "--designs", designs(tmp_path))
    assert run(*arguments, "--tries", "3", "-o", out).returncode == 0
    assert out.read_text(encoding="utf-8").startswith("| design | area um2 | spread% |")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
