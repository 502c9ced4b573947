"""Wheel and source distribution: built, installed into an empty environment, used from outside."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("quant", "roofline", "hwsim")
COMMANDS = ROOT / "tests" / "packaging" / "quick_commands.txt"


def build(source: Path, target: Path, *kinds: str) -> list[Path]:
    """Build distributions; return their files."""
    command = [sys.executable, "-m", "build", "--outdir", str(target), *kinds, str(source)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return sorted(target.iterdir())


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The source distribution, and the wheel that is built from the checkout."""
    wheel, source = build(ROOT, tmp_path_factory.mktemp("built"), "--sdist", "--wheel")
    assert (wheel.suffix, "".join(source.suffixes[-2:])) == (".whl", ".tar.gz")
    return source, wheel


@pytest.fixture(scope="module")
def installed(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with nothing but the wheel and what it needs."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    newest = ROOT / "constraints" / "newest.txt"
    pip = [python, "-m", "pip", "install", "-q", "--no-compile", "-c", newest, built[1]]
    subprocess.run([str(part) for part in pip], check=True, capture_output=True, timeout=500)
    return python.parent


def run(programs: Path, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a program of the environment in a folder that is not the checkout."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    command = [str(programs / words[0]), *words[1:]]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=folder, env=kept, timeout=120, check=False
    )


def contents(wheel: Path) -> dict[str, str]:
    """Name to hash of the files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        files = [entry for entry in archive.namelist() if not entry.endswith("/RECORD")]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in files}


def shipped() -> set[str]:
    """Names in the wheel of every file of the packages and of the Verilog."""
    found = {
        path.relative_to(ROOT).as_posix()
        for name in (*PACKAGES, "rtl")
        for path in (ROOT / name).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return {f"hwsim/{name}" if name.startswith("rtl/") else name for name in found}


def test_the_wheel_has_every_file_and_the_notices(built: tuple[Path, Path]) -> None:
    names = set(contents(built[1]))
    assert shipped() <= names
    outside = {name for name in names - shipped() if ".dist-info/" not in name}
    assert not outside
    for suffix in (".toml", ".json", ".csv", ".sv", ".svh", ".html", ".css", ".js", "py.typed"):
        assert any(name.endswith(suffix) for name in names), suffix
    assert {Path(name).name for name in names if "/licenses/" in name} == {"LICENSE", "NOTICE"}


def test_the_source_distribution_builds_the_same_wheel(
    built: tuple[Path, Path], tmp_path: Path
) -> None:
    with tarfile.open(built[0]) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    (wheel,) = build(source, tmp_path / "again", "--wheel")
    assert contents(wheel) == contents(built[1])


def test_the_wheel_is_used_outside_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    for line in COMMANDS.read_text(encoding="utf-8").splitlines():
        done = run(installed, tmp_path, *line.split())
        assert (done.returncode, done.stderr) == (0, ""), line
        assert len(done.stdout.splitlines()) > 5, line
    page = "roofline report llama-3.1-8b h100-sxm --phase decode -o page.html"
    assert run(installed, tmp_path, *page.split()).returncode == 0
    assert "<script" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_the_verilog_is_exported_outside_of_the_checkout(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "python", "-m", "hwsim.verilog.export")
    assert done.returncode == 0, done.stderr
    written = sorted((tmp_path / "rtl" / "generated").iterdir())
    names = ["registers_pkg.sv", "term_table.sv", "terms_pkg.sv"]
    assert [path.name for path in written] == names
    code = "from hwsim.verilog.sources import RTL; print(RTL)"
    rtl = Path(run(installed, tmp_path, "python", "-c", code).stdout.strip())
    assert ROOT not in rtl.parents
    for path in written:
        assert path.read_bytes() == (rtl / "generated" / path.name).read_bytes()


def test_a_command_that_needs_an_extra_names_it(installed: Path, tmp_path: Path) -> None:
    done = run(installed, tmp_path, "quant", "eval", "smollm2-135m", "--weights", "bitmod3")
    assert done.returncode == 2
    assert done.stderr.splitlines() == ["quant: this needs torch: pip install 'hwsim[models]'"]
    done = run(installed, tmp_path, "quant", "list", "-o", "formats.parquet")
    assert done.returncode == 2
    assert done.stderr.endswith("needs pyarrow: pip install 'hwsim[parquet]'\n")
