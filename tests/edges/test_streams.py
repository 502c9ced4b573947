"""Standard streams that are closed, broken or full: one line at most, never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "quant", "list", "--output", "json"]
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
CLOSED = "quant: standard output is closed: open it, or write to a file with -o\n"
FULL = (
    "quant: standard output: No space left on device; free some room, or write to another place\n"
)


def shell(words: str, **variables: str) -> tuple[int, str, str]:
    """Run the command with redirections of a shell's."""
    line = f'"$@" {words}'
    done = subprocess.run(
        ["sh", "-c", line, "sh", *COMMAND],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=ENVIRONMENT | variables,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (">&-", CLOSED),
        (">&- <&-", CLOSED),
        (">&- 2>&-", ""),
        (">/dev/full", FULL),
        (">/dev/full 2>&1", ""),
    ],
)
def test_an_output_that_takes_nothing_is_one_line(words: str, said: str) -> None:
    assert shell(words) == (1, "", said)


def test_unbuffered_output_that_takes_nothing_is_one_line() -> None:
    assert shell(">/dev/full", PYTHONUNBUFFERED="1") == (1, "", FULL)


def test_a_result_is_written_without_standard_error() -> None:
    code, out, errors = shell("2>&-")
    assert (code, errors) == (0, "")
    assert out.startswith("{")


def test_a_result_goes_to_its_file_without_any_stream(tmp_path: Path) -> None:
    target = tmp_path / "list.json"
    assert shell(f"-o {target} >&- 2>&- <&-") == (0, "", "")
    assert target.read_text(encoding="utf-8").startswith("{")


@pytest.mark.parametrize("joined", [False, True])
def test_a_reader_who_has_enough_ends_it_in_silence(joined: bool) -> None:
    fcntl = pytest.importorskip("fcntl", reason="pipes of a given size need fcntl")
    read, write = os.pipe()
    fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, 4096)  # less than the command has to say
    errors = write if joined else subprocess.PIPE
    process = subprocess.Popen(COMMAND, stdout=write, stderr=errors, cwd=ROOT, env=ENVIRONMENT)
    os.close(write)
    assert os.read(read, 1) == b"{"
    os.close(read)
    said = process.communicate(timeout=30)[1]
    assert (process.returncode, said or b"") == (1, b"")
