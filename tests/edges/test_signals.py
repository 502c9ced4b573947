"""Ctrl-C, SIGTERM and SIGHUP at any moment: one line, 128 and the number, cleaned up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from quant.common.stops import INTERRUPTED
from tests.edges.programs import ROOT, await_line, started

SAID = {
    signal.SIGINT: f"probe: {INTERRUPTED}\n",
    signal.SIGTERM: "probe: interrupted by SIGTERM; finished parts are kept\n",
    signal.SIGHUP: "probe: interrupted by SIGHUP; finished parts are kept\n",
}


@pytest.mark.parametrize("number", SAID)
def test_a_signal_is_one_line_and_its_code_and_temporary_files_go(
    number: signal.Signals, tmp_path: Path
) -> None:
    process = started("loop", str(tmp_path))
    assert await_line(process) == "ready"
    process.send_signal(number)
    errors = process.communicate(timeout=30)[1]
    assert (process.returncode, errors) == (128 + number, SAID[number])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("program", ["swallowed", "native", "written", "parent"])
def test_a_signal_is_answered_wherever_it_comes(program: str) -> None:
    process = started(program)
    said = await_line(process)
    if program == "written":
        time.sleep(0.3)  # until the pipe is full
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=30)[1]
    assert (process.returncode, errors) == (130, SAID[signal.SIGINT])
    if program == "parent":
        assert not alive(int(said))


def test_a_second_signal_neither_shows_a_traceback_nor_stops_the_cleaning(tmp_path: Path) -> None:
    process = started("slow_cleanup", str(tmp_path))
    await_line(process)
    process.send_signal(signal.SIGTERM)
    assert await_line(process) == "cleaning"
    process.send_signal(signal.SIGTERM)  # as `timeout` does
    errors = process.communicate(timeout=30)[1]
    assert (process.returncode, errors) == (143, SAID[signal.SIGTERM])
    assert (tmp_path / "cleaned").exists()


def test_a_worker_process_leaves_the_answer_to_its_parent() -> None:
    process = started("forked", start_new_session=True)
    child = int(await_line(process))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both
    errors = process.communicate(timeout=30)[1]
    assert (process.returncode, errors) == (130, SAID[signal.SIGINT])
    assert not alive(child)


def test_a_signal_that_is_ignored_stays_so() -> None:
    code = (
        "import signal, os; signal.signal(signal.SIGHUP, signal.SIG_IGN);"
        "from quant.common.start import start; start('probe', 'tests.edges.programs:ready')"
    )
    line = [sys.executable, "-c", code.replace("start('", "os.kill(os.getpid(), 1); start('")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout, done.stderr) == (0, "ready\n", "")


def test_a_signal_while_a_command_starts_is_answered() -> None:
    # The start of Python itself, before any line of ours, is Python's to answer.
    code = (
        "import os, signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == MODULE: os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.argv[1:] = ['list']\n"
        "from quant.__main__ import main\n"
        "main()\n"
    )
    for module in ("quant.common.boundary", "typer", "quant.formats.registry"):
        line = [sys.executable, "-c", f"MODULE = {module!r}\n{code}"]
        done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=ROOT)
        said = f"quant: {INTERRUPTED}\n"
        assert (done.returncode, done.stdout, done.stderr) == (130, "", said), module


def alive(process: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked for does not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text(encoding="ascii")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
