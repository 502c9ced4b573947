"""Runs Python texts, each in a process of its own: ``python -m tests.docs.runner JOBS.json``.

A text with tests is run by pytest, any other as a program. The processes are forks of one that has
imported what is slow to import, and that has started no threads. ``JOBS.json`` is a list of
``[text, folder]``; ``JOBS.json.out`` gets what went wrong with each, empty where nothing did.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import re
import runpy
import sys
import traceback
import warnings
from pathlib import Path

import pytest

OURS = r"(__main__|quant|roofline|hwsim)(\..*)?$"
SLOW_TO_IMPORT = ("hwsim", "numba", "pandas", "torch")


def run(path: Path, folder: Path) -> str:
    """Run one text in a folder; return what went wrong, or an empty text."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            text = path.read_text(encoding="utf-8")
            if re.search(r"^(class Test|def test_)", text, re.MULTILINE):
                return "" if _passes(path) else out.getvalue()
            with warnings.catch_warnings():
                warnings.filterwarnings("error", module=OURS)
                runpy.run_path(str(path), run_name="__main__")
    except (Exception, SystemExit):  # whatever a text raises is what the test shows
        return out.getvalue() + traceback.format_exc()
    return ""


def _passes(path: Path) -> bool:
    strict = f"filterwarnings=error:::{OURS}"
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", strict]
    return pytest.main([*options, str(path)]) == pytest.ExitCode.OK


def _forked(path: Path, folder: Path) -> str:
    """Run one text in a fork of this process."""
    answer = folder / f"{path.name}.fault"
    child = os.fork()
    if child == 0:
        answer.write_text(run(path, folder), encoding="utf-8")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return answer.read_text(encoding="utf-8") if status == 0 else f"died: {status}"


def main() -> None:
    """Run the jobs of the file that is named."""
    file = Path(sys.argv[1])
    jobs = json.loads(file.read_text(encoding="utf-8"))
    for name in SLOW_TO_IMPORT:
        importlib.import_module(name)
    faults = [_forked(Path(text), Path(folder)) for text, folder in jobs]
    file.with_name(f"{file.name}.out").write_text(json.dumps(faults), encoding="utf-8")


if __name__ == "__main__":
    main()
