"""atomic_path: whole or absent, ordinary modes, streams and links written through."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from quant.common.errors import RequestError
from quant.common.files import PART, atomic_path, is_stream, write_text


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_has_the_ordinary_mode(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "new.csv", "a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new.csv").stat().st_mode) == mode


def test_an_older_file_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "old.csv"
    path.write_text("before")
    path.chmod(0o640)
    write_text(path, "after")
    assert path.read_text() == "after"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_failed_write_leaves_the_old_file_alone(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("before")

    def cut() -> None:
        with atomic_path(tmp_path / "x") as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut()
    assert (tmp_path / "x").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_what_a_killed_run_left_is_taken_over(tmp_path: Path) -> None:
    (tmp_path / f".x{PART}").write_text("half of something that was much longer")
    write_text(tmp_path / "x", "whole")
    assert (tmp_path / "x").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_links_stay_links(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there/real.csv").write_text("before")
    (tmp_path / "link.csv").symlink_to("there/real.csv")
    (tmp_path / "twice.csv").symlink_to("link.csv")
    write_text(tmp_path / "twice.csv", "after")
    assert (tmp_path / "twice.csv").is_symlink()
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "there/real.csv").read_text() == "after"
    (tmp_path / "dangling.csv").symlink_to("there/new.csv")
    write_text(tmp_path / "dangling.csv", "made")
    assert (tmp_path / "there/new.csv").read_text() == "made"
    assert (tmp_path / "dangling.csv").is_symlink()


def test_a_fifo_is_written_to(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append(fifo.read_text()))
    reader.start()
    write_text(fifo, "through")
    reader.join()
    assert read == ["through"]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


@pytest.mark.parametrize("form", ["csv", "json", "html"])
def test_devices_are_written_to(form: str, tmp_path: Path) -> None:
    """As root /dev/null could be replaced: a link to it stands in, in a folder of our own."""
    (tmp_path / "null").symlink_to("/dev/null")
    line = [sys.executable, "-m", "quant.cli", "list", "--output", form, "-o"]
    for place in ("/dev/null", str(tmp_path / "null")):
        assert is_stream(Path(place))
        done = subprocess.run([*line, place], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    assert (tmp_path / "null").is_symlink()


def test_an_open_stream_is_written_to_after_what_is_in_it(tmp_path: Path) -> None:
    command = f"echo first; {sys.executable} -m quant.cli list --output json -o /dev/stdout"
    with (tmp_path / "log").open("w") as log:
        subprocess.run(["sh", "-c", command], stdout=log, check=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert lines[:2] == ["first", "{"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="is a folder"):
        write_text(tmp_path, "x")


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no files in memory here")
def test_files_in_memory_are_replaced_as_others_are() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path, other = Path(folder) / "x.csv", Path(folder) / "y.csv"
        path.write_text("before")
        other.hardlink_to(path)
        write_text(path, "after")
        assert (path.read_text(), other.read_text()) == ("after", "before")


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("mine")
    (tmp_path / f".x{PART}").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        write_text(tmp_path / "x", "new")
    assert (tmp_path / "victim").read_text() == "mine"
