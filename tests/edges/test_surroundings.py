"""Installations that nobody may write to, and users without a home: kernels, caches, figures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from quant.common.cache import VARIABLE, cache_dir, can_hold, own_temporary
from quant.common.errors import HwsimError
from tests.edges.surroundings import NOBODY, is_root, read_only, without_home

KERNEL = (
    "import numpy as np, quant; from quant.rounding.kernels import rounding;"
    "print(rounding.cell(np.float32(1), np.zeros(2, np.float32))); print(quant.__file__)"
)
PLACE = "from quant.common.cache import cache_dir; print(cache_dir())"
USER = NOBODY if is_root() else os.getuid()


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with read_only(tmp_path_factory.mktemp("read-only") / "site") as folder:
        yield folder


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """A folder of temporary files, as /tmp is: anybody may write there."""
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o001)
    place = tmp_path / "tmp"
    place.mkdir()
    place.chmod(0o1777)
    return place


@pytest.mark.parametrize("home", ["/nonexistent", "", "/proc"])
def test_without_a_home_the_cache_is_a_folder_of_the_users_own(
    home: str, installed: Path, temporary: Path
) -> None:
    if not is_root() and not home:
        home = "/proc"  # whoever runs the tests has a home
    variables = {"HOME": home} if home else {}
    done = without_home(installed, temporary, "-c", PLACE, **variables)
    folder = temporary / f"hwsim-{USER}"
    assert done.stdout == f"{folder}\n"
    assert done.stderr.count("\n") == 1
    assert list(temporary.iterdir()) == [folder]


def test_kernels_are_kept_in_a_folder_of_the_users_own(installed: Path, temporary: Path) -> None:
    done = without_home(installed, temporary, "-c", KERNEL, HOME="/nonexistent")
    folder = temporary / f"hwsim-{USER}"
    assert done.stdout == f"2\n{installed / 'quant/__init__.py'}\n", done.stderr
    assert done.returncode == 0
    assert done.stderr.count("\n") == 1
    assert str(folder) in done.stderr
    assert VARIABLE in done.stderr
    assert folder.stat().st_mode & 0o777 == 0o700
    assert list(folder.rglob("*.nbi"))
    assert not list(installed.rglob("__pycache__"))


def test_without_any_folder_kernels_run_uncached_with_one_line(
    installed: Path, temporary: Path
) -> None:
    nowhere = {"HOME": "/proc", VARIABLE: "/proc/nowhere"}
    done = without_home(installed, temporary, "-c", KERNEL, **nowhere)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("hwsim: compiled kernels cannot be kept (")
    assert "NUMBA_CACHE_DIR" in done.stderr
    assert list(temporary.iterdir()) == []


def test_commands_say_nothing_of_it_that_keep_nothing(installed: Path, temporary: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures need the extra codesign")
    for words in (["list"], ["show", "int4"]):
        done = without_home(installed, temporary, "-m", "quant", *words, HOME="/proc")
        assert (done.returncode, done.stderr) == (0, ""), words
    target = temporary / "out.svg"
    words = ["compare", "smollm2-135m", "h100-sxm", "-o", str(target)]
    done = without_home(installed, temporary, "-m", "roofline", *words, HOME="/proc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert target.exists()


def test_a_folder_that_somebody_else_could_have_filled_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Compiled kernels are run: where others may write, they could put what we run.
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"hwsim-{os.getuid()}"
    assert own_temporary() == folder
    folder.chmod(0o777)
    with pytest.raises(HwsimError, match=r"is not yours alone\): set HWSIM_CACHE to one"):
        own_temporary()
    folder.rmdir()
    folder.symlink_to(tmp_path / "theirs", target_is_directory=True)
    with pytest.raises(HwsimError):
        own_temporary()


def test_the_cache_is_where_the_variable_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "not/yet"))
    assert cache_dir() == tmp_path / "not/yet"
    assert can_hold(tmp_path / "not/yet")
    (tmp_path / "file").touch()
    assert not can_hold(tmp_path / "file/below")


def test_a_damaged_or_full_cache_of_kernels_costs_time_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from quant.common.jit import _tolerant

    def fails(*_: object) -> object:
        raise EOFError("Ran out of input")

    assert _tolerant(fails)("signature", "data") is None
    assert _tolerant(fails)("signature", "data") is None
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "EOFError" in said
