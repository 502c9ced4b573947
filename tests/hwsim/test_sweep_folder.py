"""Sweeps in folders: the same as in memory, of one request, going on where they were cut."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import hwsim
from hwsim.exploration.space import DesignSpace
from hwsim.exploration.sweep import sweep
from quant.common.errors import RequestError
from tests.hwsim.test_exploration import works


def test_a_folder_is_of_one_request(tmp_path: Path) -> None:
    def space(factor: int, base: str = "bitmod") -> DesignSpace:
        return DesignSpace(base, {"tiles": [4, 8]}, {"vector": lambda at: at["tiles"] * factor})

    sweep(space(4), works(), folder=tmp_path / "sweep")
    for other in (space(8), space(4, "bitmod-hpca25")):
        with pytest.raises(RequestError, match="differs in"):
            sweep(other, works(), folder=tmp_path / "sweep")
    sweep(space(8), works(), folder=tmp_path / "sweep", overwrite=True)


def test_a_sweep_in_a_folder_is_the_one_in_memory(tmp_path: Path) -> None:
    space = DesignSpace("bitmod", {"tiles": [2, 4, 8], "clock": hwsim.log(1e8, 1e9, 5)})
    kept = sweep(space, works(), folder=tmp_path / "sweep", chunk=4)
    plain = sweep(space, works(), chunk=4)
    pd.testing.assert_frame_equal(kept.to_frame(), plain.to_frame())
    pd.testing.assert_frame_equal(kept.front(), plain.front())
    assert len(list((tmp_path / "sweep").glob("chunk-*.parquet"))) == 4
    again = sweep(space, works(), folder=tmp_path / "sweep", chunk=4)
    pd.testing.assert_frame_equal(again.front(), plain.front())
    with pytest.raises(RequestError, match="differs in axes"):
        sweep(DesignSpace("bitmod", {"tiles": [2]}), works(), folder=tmp_path / "sweep", chunk=4)


CUT = """
import sys
from tests.hwsim.test_exploration import DesignSpace, hwsim, sweep, works
space = DesignSpace("bitmod", {"tiles": list(range(1, 40)), "clock": hwsim.log(1e8, 1e9, 100)})
sweep(space, works(), folder=sys.argv[1], chunk=100)
"""


def test_a_sweep_that_is_killed_goes_on(tmp_path: Path) -> None:
    line = [sys.executable, "-c", CUT, str(tmp_path / "sweep")]
    work = tmp_path / ".sweep.part"
    process = subprocess.Popen(line, cwd=Path(__file__).parents[2])
    while process.poll() is None and len(list(work.glob("chunk-*.parquet"))) < 5:
        time.sleep(0.01)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    done = {path.name: path.stat().st_mtime_ns for path in work.glob("chunk-*.parquet")}
    said = subprocess.run(
        line, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=True
    ).stderr
    assert "going on with a run that was cut" in " ".join(said.split())
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "sweep").glob("chunk-*")}
    assert len(files) == 39
    # The last chunk may have been cut before it was noted down.
    assert sum(files[name] == when for name, when in done.items()) >= len(done) - 1
