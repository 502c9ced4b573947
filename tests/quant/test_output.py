"""Form and place of a result, the options that commands share, progress that can be silenced."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from quant.common import options, progress
from quant.common.errors import RequestError
from quant.common.files import write_text
from quant.common.output import FIGURES, TABLES, Output, Report, frame_of, room, stacked, to_json


def report() -> Report:
    return Report.of_rows("two", "quant.test/1", [{"a": 1, "b": [1, 2]}, {"a": 2}], {"rows": 2})


@pytest.mark.parametrize(
    ("form", "path", "chosen"),
    [
        (None, None, "table"), ("json", None, "json"), (None, "a.csv", "csv"), (None, "a.MD", "md"),
        (None, "a.htm", "html"), (None, "a.txt", "table"), ("json", "a.json", "json"),
        ("json", "a.log", "json"), ("csv", "/dev/stdout", "csv"), (None, "a.svg", "svg"),
    ],
)  # fmt: skip
def test_the_form_is_named_or_is_what_the_suffix_says(
    form: str | None, path: str | None, chosen: str
) -> None:
    assert Output.choose(form, Path(path) if path else None, FIGURES).form == chosen


@pytest.mark.parametrize(
    ("form", "path", "message"),
    [
        ("json", "a.csv", "two forms"), (None, "a", "must end in .txt, .json"),
        (None, "a.xyz", "must end in"), (None, "a.svg", "must end in"),
        (None, "a.toml", "must end in"), ("svg", None, "no such form, only table"),
    ],
)  # fmt: skip
def test_what_cannot_be_written_is_refused(
    form: str | None, path: str | None, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        Output.choose(form, Path(path) if path else None, TABLES)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="no folder here is closed to everybody")
def test_a_folder_that_is_closed_is_refused() -> None:
    """Even to root, of whom ``os.access`` says that it may write anywhere."""
    with pytest.raises(RequestError, match="nothing can be written in /proc"):
        Output.choose(None, Path("/proc/new/a.csv"))


def test_one_form_alone() -> None:
    assert Output.choose(None, None, ("md",)).form == "md"
    with pytest.raises(RequestError, match=r"must end in \.toml$"):
        Output.choose(None, Path("a.csv"), ("toml",))


def test_devices_are_written_to_and_stay() -> None:
    assert os.path.exists(os.devnull)  # noqa: PTH110  the name is a string
    write_text(Path(os.devnull), "x")
    assert not Path(os.devnull).is_file()


def test_forms_of_rows() -> None:
    assert report().text("csv") == 'a,b\n1,"1, 2"\n2,\n'
    assert json.loads(report().text("json")) == {"schema": "quant.test/1", "rows": 2}
    assert report().text("md").startswith("# two\n\n| a | b |\n|---:|---|\n| 1 | 1, 2 |")
    with pytest.raises(RequestError, match="svg is no text"):
        report().text("svg")


def test_several_tables_are_one_frame() -> None:
    frame = stacked({"x": [{"a": 1}], "y": [{"b": 2}, {"a": 3}]})
    assert list(frame.columns) == ["table", "a", "b"]
    assert list(frame["table"]) == ["x", "y", "y"]
    assert frame_of([]).empty


def test_json_has_no_nan() -> None:
    text = to_json("quant.test/1", {"a": float("nan"), "b": [np.float64(1.5), np.int64(2)]})
    assert json.loads(text) == {"schema": "quant.test/1", "a": None, "b": [1.5, 2]}


def test_a_file_gets_whole_columns_whatever_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    with (tmp_path / "out").open("w") as file:
        monkeypatch.setattr("sys.stdout", file)
        assert room() is None
    read, write = os.pipe()
    with os.fdopen(write, "w") as pipe, os.fdopen(read):
        monkeypatch.setattr("sys.stdout", pipe)
        assert room() == 33
        monkeypatch.delenv("COLUMNS")
        assert room() is None


def test_a_terminal_has_its_own_width(monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl
    import struct
    import termios

    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 101, 0, 0))
    monkeypatch.delenv("COLUMNS", raising=False)
    with os.fdopen(slave, "w") as terminal, os.fdopen(master):
        monkeypatch.setattr("sys.stdout", terminal)
        assert room() == 101


def test_options_that_repeat_take_commas_too() -> None:
    assert options.listed(["a,b", "c"]) == ["a", "b", "c"]
    assert options.listed(None, ["d"]) == ["d"]
    assert options.format_names(["4,bitmod3", "16"], [], "weights") == ["int4", "bitmod3", "fp16"]
    assert options.numbers(["1:7:3,9", "2"], [], "batch") == [1, 4, 7, 9, 2]
    assert options.numbers(None, [5], "batch") == [5]
    assert options.fractions(["3.3,3.7", "4"], [], "budget") == [3.3, 3.7, 4.0]


@pytest.mark.parametrize("given", ["a", "1,,2", "4:1", "1:2:3:4", "1:2:0", ""])
def test_what_is_no_list_of_numbers_is_refused(given: str) -> None:
    with pytest.raises(RequestError, match=r"numbers such as|between commas is empty"):
        options.numbers([given], [1], "batch")


def test_a_part_between_commas_is_not_empty() -> None:
    with pytest.raises(RequestError, match="weights 'a,,b': a part between commas is empty"):
        options.listed(["a,,b"], (), "weights")


def test_progress_is_silenced_in_this_process_and_those_that_it_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HWSIM_QUIET", "TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        monkeypatch.setenv(name, "")
    progress.say("converting")
    assert capsys.readouterr().err == "converting\n"
    progress.silence()
    progress.say("converting")
    assert list(progress.track([1, 2], "work")) == [1, 2]
    assert capsys.readouterr().err == ""
    assert progress.progress_bar().disable
    assert os.environ["TQDM_DISABLE"] == "1"
