"""Jobs: what may be replaced, what is kept, what two runs into one place do."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from quant.common.errors import RequestError
from quant.common.goal import Goal
from quant.common.job import job
from quant.common.locks import locked_folder
from quant.common.manifest import whole_manifest

SCHEMA = "hwsim.trial/1"


def make(folder: Path, text: str = "a", *, overwrite: bool = False, owned: bool = False) -> bool:
    """Make a folder of two files; return whether there was work to do."""
    request = {"text": text}
    with job(Goal(folder, SCHEMA, request, overwrite=overwrite, owned=owned)) as work:
        if work.made is not None:
            return False
        for name in ("one.txt", "deep/two.txt"):
            (work.folder / name).parent.mkdir(exist_ok=True)
            (work.folder / name).write_text(text + name)
            work.keep(name, files=[name])
        work.finish({}, ["one.txt", "deep/two.txt"])
        return True


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_the_same_again_is_left_alone_and_another_needs_a_word(tmp_path: Path) -> None:
    assert make(tmp_path / "out")
    before = tree(tmp_path / "out")
    assert not make(tmp_path / "out")
    with pytest.raises(RequestError, match=r"differs in text.*--overwrite"):
        make(tmp_path / "out", "b")
    assert tree(tmp_path / "out") == before
    assert make(tmp_path / "out", "b", overwrite=True)
    assert tree(tmp_path / "out")["one.txt"] == b"bone.txt"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


FOREIGN = {
    "a web project": {"manifest.json": '{"name": "app", "sha256": {}, "icons": []}'},
    "a model": {"config.json": "{}", "model.safetensors": "weights"},
    "a broken manifest": {"manifest.json": "{"},
    "a list": {"manifest.json": "[1]"},
    "a schema of somebody else": {"manifest.json": '{"schema": "theirs/1", "sha256": {}}'},
    "another kind of ours": {"manifest.json": '{"schema": "hwsim.other/1", "sha256": {}}'},
    "a hidden file": {".env": "secret"},
}


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kind", FOREIGN)
def test_what_is_not_ours_is_never_replaced(kind: str, overwrite: bool, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    for name, text in FOREIGN[kind].items():
        (folder / name).write_text(text)
    before = tree(folder)
    with pytest.raises(RequestError, match="choose another folder"):
        make(folder, overwrite=overwrite)
    assert tree(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_only_files_that_the_manifest_lists_are_removed(tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "out/deep/mine.txt").write_text("mine")
    (tmp_path / "out/link").symlink_to("nowhere")
    (tmp_path / "out/own").mkdir()
    (tmp_path / "out/own/x").write_text("x")
    make(tmp_path / "out", "b", overwrite=True)
    found = tree(tmp_path / "out")
    assert found["deep/mine.txt"] == b"mine"
    assert found["own/x"] == b"x"
    assert (tmp_path / "out/link").readlink() == Path("nowhere")


def test_a_file_of_the_users_in_the_way_is_named(tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "out/extra.txt").write_text("mine")

    def another() -> None:
        with job(Goal(tmp_path / "out", SCHEMA, {"text": "c"}, overwrite=True)) as work:
            (work.folder / "extra.txt").write_text("new")
            work.finish({}, ["extra.txt"])

    with pytest.raises(RequestError, match=r"extra\.txt is not ours.*move it away"):
        another()
    assert (tmp_path / "out/extra.txt").read_text() == "mine"
    assert (tmp_path / "out/one.txt").read_text() == "aone.txt"


def test_a_damaged_result_is_made_anew_when_it_may_be(tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "out/one.txt").write_text("other")
    with pytest.raises(RequestError, match=r"one\.txt: damaged: .*--overwrite"):
        make(tmp_path / "out")
    assert make(tmp_path / "out", overwrite=True)
    (tmp_path / "out/one.txt").write_text("other")
    assert make(tmp_path / "out", owned=True)
    assert not make(tmp_path / "out")


def test_places_that_cannot_be_exchanged_are_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(RequestError, match="name a folder inside it"):
        make(Path())
    (tmp_path / "file").write_text("x")
    for place, said in ((tmp_path / "file", "is a file"), (tmp_path / "file/out", "is a file")):
        with pytest.raises(RequestError, match=said):
            make(place)
    assert make(Path("inside"))


def test_a_link_to_a_folder_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    make(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert whole_manifest(tmp_path / "real")["request"] == {"text": "a"}


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640)])
def test_every_file_has_the_ordinary_mode(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with job(Goal(tmp_path / "out", SCHEMA, {})) as work:
            (work.folder / "own").write_text("x")
            (work.folder / "own").chmod(0o600)  # as some writers do
            work.finish({}, ["own"])
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "out").iterdir()}
    assert modes == {mode}


def test_two_runs_into_one_place_exclude_each_other(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.files.test_jobs import make\n"
        "make(Path(sys.argv[1]))"
    )
    with job(Goal(tmp_path / "out", SCHEMA, {"text": "a"})):
        done = subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "out")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "another run is writing there" in done.stderr
    assert make(tmp_path / "out")


def test_a_cache_waits_for_the_one_who_makes_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.files.test_jobs import make\n"
        "print(make(Path(sys.argv[1]), owned=True))"
    )
    with job(Goal(tmp_path / "out", SCHEMA, {"text": "a"}, owned=True)) as work:
        other = subprocess.Popen(
            [sys.executable, "-c", program, str(tmp_path / "out")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert other.stderr is not None
        assert "waiting for another run" in other.stderr.readline()
        (work.folder / "x").write_text("x")
        work.finish({}, ["x"])
    assert other.communicate()[0].strip() == "False"


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    program = (
        "import os, sys; from pathlib import Path; from quant.common.locks import locked_folder\n"
        "with locked_folder(Path(sys.argv[1]), Path('x')):\n    os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "held")], check=False)
    with locked_folder(tmp_path / "held", tmp_path):
        pass


def test_verilog_of_the_users_is_not_written_over(tmp_path: Path) -> None:
    from hwsim.verilog.export import write

    (tmp_path / "terms_pkg.sv").write_text("package terms_pkg; endpackage\n")
    with pytest.raises(RequestError, match=r"terms_pkg\.sv was not generated by this command"):
        write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["terms_pkg.sv"]
    (tmp_path / "terms_pkg.sv").unlink()
    write(tmp_path)
    write(tmp_path)
