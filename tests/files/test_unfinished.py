"""Jobs that were cut: what is kept, what goes on, what is never lost."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

import pytest

from quant.common import folders
from quant.common.errors import RequestError
from quant.common.files import part_of
from quant.common.goal import Goal
from quant.common.job import job
from tests.files.test_jobs import SCHEMA, make, tree


def fail(goal: Goal, text: str) -> None:
    """End a run after its first step, in the middle of the second."""
    with suppress(KeyboardInterrupt), job(goal) as work:
        (work.folder / "one.txt").write_text(f"{text}one.txt")
        work.keep("one.txt", {"number": 0.1}, ["one.txt"])
        (work.folder / "half.txt").write_text("ha")
        raise KeyboardInterrupt


def test_an_unfinished_run_goes_on_step_by_step(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    goal = Goal(tmp_path / "out", SCHEMA, {"text": "a"})
    fail(goal, "a")
    assert not (tmp_path / "out").exists()
    with job(goal) as work:
        assert work.steps["one.txt"].facts == {"number": 0.1}
        assert sorted(tree(work.folder)) == ["journal.json", "one.txt"]
        (work.folder / "one.txt").write_text("changed")
    assert "1 steps are done" in capsys.readouterr().err
    with job(goal) as work:  # what was damaged is done again
        assert work.steps == {}


def test_a_folder_of_the_users_is_not_taken_for_work(tmp_path: Path) -> None:
    part_of(tmp_path / "out").mkdir()
    (part_of(tmp_path / "out") / "mine").write_text("mine")
    with pytest.raises(RequestError, match="not ours: move them away"):
        make(tmp_path / "out")
    assert (part_of(tmp_path / "out") / "mine").read_text() == "mine"


def test_a_journal_of_another_request_is_given_up(tmp_path: Path) -> None:
    fail(Goal(tmp_path / "out", SCHEMA, {"text": "b"}), "b")
    assert make(tmp_path / "out")
    assert tree(tmp_path / "out")["one.txt"] == b"aone.txt"
    assert json.loads(tree(tmp_path / "out")["manifest.json"])["request"] == {"text": "a"}


def waiting(folder: Path) -> list[str]:
    """Names of the files that an unfinished run has kept beside a folder."""
    return sorted(tree(part_of(folder))) if part_of(folder).is_dir() else []


@pytest.mark.parametrize("again", ["a", "c"])
def test_a_refusal_or_a_finished_result_leaves_another_runs_work(
    again: str, tmp_path: Path
) -> None:
    """``--overwrite`` was forgotten, or what is there was asked for: hours of work stay."""
    make(tmp_path / "out", "a")
    fail(Goal(tmp_path / "out", SCHEMA, {"text": "b"}, overwrite=True), "b")
    kept = waiting(tmp_path / "out")
    assert "one.txt" in kept
    with suppress(RequestError):
        assert not make(tmp_path / "out", again)
    assert waiting(tmp_path / "out") == kept
    with job(Goal(tmp_path / "out", SCHEMA, {"text": "b"}, overwrite=True)) as work:
        assert list(work.steps) == ["one.txt"]


def test_an_interruption_while_kept_work_is_looked_at_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal = Goal(tmp_path / "out", SCHEMA, {"text": "a"})
    fail(goal, "a")
    kept = waiting(tmp_path / "out")

    def interrupted(_: Path) -> str:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("quant.common.job.sha256_of", interrupted)
        with pytest.raises(KeyboardInterrupt), job(goal):
            pass
    assert waiting(tmp_path / "out") == kept


def test_a_wrong_request_in_the_middle_keeps_what_is_done(tmp_path: Path) -> None:
    def wrong() -> None:
        with job(Goal(tmp_path / "out", SCHEMA, {"text": "a"})) as work:
            (work.folder / "one.txt").write_text("aone.txt")
            work.keep("one.txt", files=["one.txt"])
            raise RequestError("the source is away")

    with pytest.raises(RequestError, match="away"):
        wrong()
    assert "one.txt" in waiting(tmp_path / "out")


def test_a_whole_result_waits_for_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    goal = Goal(tmp_path / "out", SCHEMA, {"text": "a"})

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    def make_it() -> None:
        with job(goal) as work:
            assert work.made is None
            (work.folder / "x").write_text("x")
            work.finish({}, ["x"])

    with monkeypatch.context() as patch:
        patch.setattr("quant.common.job.put_in_place", full)
        with pytest.raises(OSError, match="No space"):
            make_it()
    assert waiting(tmp_path / "out") == ["manifest.json", "x"]
    with job(goal) as work:
        assert work.made is not None
    assert sorted(tree(tmp_path / "out")) == ["manifest.json", "x"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_folders_of_others_with_names_like_ours_stay(tmp_path: Path) -> None:
    for name in (".out.aside", ".out.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "thesis.tex").write_text("years")
        (tmp_path / name / "journal.json").write_text('{"schema": "diary/1"}')
    with pytest.raises(RequestError, match="not ours"):
        make(tmp_path / "out")
    assert (tmp_path / ".out.aside/thesis.tex").read_text() == "years"
    assert (tmp_path / ".out.part/thesis.tex").read_text() == "years"


def test_what_is_written_while_a_folder_is_replaced_moves_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path / "out")
    exchange = folders.exchange

    def late(one: Path, other: Path) -> None:
        (other / "late.txt").write_text("mine")
        exchange(one, other)

    monkeypatch.setattr(folders, "exchange", late)
    os.mkfifo(tmp_path / "out/fifo")
    (tmp_path / "out/empty").mkdir()
    make(tmp_path / "out", "b", overwrite=True)
    assert (tmp_path / "out/late.txt").read_text() == "mine"
    assert (tmp_path / "out/fifo").is_fifo()
    assert (tmp_path / "out/empty").is_dir()


def test_the_root_is_no_place() -> None:
    with pytest.raises(RequestError, match="name a folder inside it"):
        make(Path("/"))
