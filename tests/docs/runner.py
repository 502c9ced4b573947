"""Runs Python texts one after the other, each by itself: ``python -m tests.docs.runner JOBS.json``.

A text with a class ``Test...`` is run by pytest, any other as a program. One process serves many
texts, since starting Python with torch takes longer than most of them. ``JOBS.json`` is a list of
``[text, folder]``; ``JOBS.json.out`` gets what went wrong with each, empty where nothing did.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import runpy
import sys
import traceback
import warnings
from pathlib import Path

OURS = r"(__main__|quant|roofline|hwsim)(\..*)?$"


def run(path: Path, folder: Path) -> str:
    """Run one text in a folder; return what went wrong, or an empty text."""
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
            if re.search(r"^class Test", path.read_text(encoding="utf-8"), re.MULTILINE):
                return "" if _passes(path) else out.getvalue()
            with warnings.catch_warnings():
                warnings.filterwarnings("error", module=OURS)
                runpy.run_path(str(path), run_name="__main__")
    except (Exception, SystemExit):  # whatever a text raises is what the test shows
        return out.getvalue() + traceback.format_exc()
    finally:
        sys.path.remove(str(folder))
    return ""


def _passes(path: Path) -> bool:
    import pytest

    strict = f"filterwarnings=error:::{OURS}"
    options = ["-q", "-p", "no:cacheprovider", "--import-mode=importlib", "-o", strict]
    return pytest.main([*options, str(path)]) == pytest.ExitCode.OK


def main() -> None:
    """Run the jobs of the file that is named."""
    file = Path(sys.argv[1])
    jobs = json.loads(file.read_text(encoding="utf-8"))
    faults = [run(Path(text), Path(folder)) for text, folder in jobs]
    file.with_name(f"{file.name}.out").write_text(json.dumps(faults), encoding="utf-8")


if __name__ == "__main__":
    main()
