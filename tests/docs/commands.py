"""Runs a command line of ours in this process, and Python texts in another.

Warnings of our packages, and of the text itself, are errors. Nothing may be fetched from the hub.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from unittest import mock

from tests.docs.markdown import ROOT
from tests.docs.runner import OURS

COMMANDS = ("quant", "roofline", "hwsim")
OFFLINE = {"HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
# The texts need none of the installed plugins, which take three seconds to load.
PLAIN = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT)}


@contextmanager
def strict_warnings() -> Iterator[None]:
    """Make errors of the warnings that our packages raise."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module=OURS)
        yield


def run_command(words: Sequence[str], folder: Path) -> str:
    """Run ``quant``, ``roofline`` or ``hwsim`` in a folder; return what it printed.

    Raises:
        AssertionError: an exit code that is not 0; the message has all that was printed.
    """
    main = importlib.import_module(f"{words[0]}.cli").main
    out, errors = io.StringIO(), io.StringIO()
    code: object = 0
    before = Path.cwd()
    os.chdir(folder)
    try:
        with (
            mock.patch.object(sys, "argv", list(words)),
            mock.patch.dict(os.environ, OFFLINE),
            redirect_stdout(out),
            redirect_stderr(errors),
            strict_warnings(),
        ):
            main()
    except SystemExit as exit_:
        code = exit_.code
    finally:
        os.chdir(before)
    message = f"{' '.join(words)}: exit code {code}\n{out.getvalue()}\n{errors.getvalue()}"
    assert code in {0, None}, message
    return out.getvalue()


def run_python(texts: Sequence[tuple[Path, Path]], at: Path) -> list[str]:
    """Run Python texts, each in its folder, in one process of their own (``tests.docs.runner``).

    Returns:
        What went wrong with each, empty where nothing did.

    Raises:
        AssertionError: the process died.
    """
    jobs = at / "jobs.json"
    jobs.write_text(json.dumps([[str(path) for path in job] for job in texts]), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.runner", str(jobs)],
        cwd=ROOT,
        env=os.environ | OFFLINE | PLAIN,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    faults: list[str] = json.loads(jobs.with_name("jobs.json.out").read_text(encoding="utf-8"))
    return faults
