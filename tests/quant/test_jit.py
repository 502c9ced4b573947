"""Compiled kernels are made anew when a kernel that they call has changed, in whatever file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

INNER = """
from quant.common.jit import jit
@jit
def inner(x: int) -> int:
    return x + {number}
"""
OUTER = """
from inner import inner
from quant.common.jit import jit
@jit
def outer(x: int) -> int:
    return inner(x) * 10
"""


def test_a_changed_callee_is_compiled_anew(tmp_path: Path) -> None:
    (tmp_path / "outer.py").write_text(OUTER)
    line = [sys.executable, "-c", "from outer import outer; print(outer(1))"]
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    for number in (1, 1, 5):
        source = INNER.format(number=number)
        if not (tmp_path / "inner.py").exists() or (tmp_path / "inner.py").read_text() != source:
            (tmp_path / "inner.py").write_text(source)
        env = {**os.environ, "PYTHONPATH": path}
        found = subprocess.run(
            line, env=env, cwd=tmp_path, capture_output=True, text=True, check=True
        )
        assert int(found.stdout) == (1 + number) * 10
    kept = sorted(file.name for file in (tmp_path / "__pycache__").glob("outer*.nbi"))
    assert len(kept) == 1
