"""The Verilog in other projects: each way of packaging names every file, and elaborates."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwsim.verilog.sources import FILELIST, INCLUDE, RTL, sources
from hwsim.verilog.toolchain import environment

TOP = "axis_tile"
pytestmark = pytest.mark.rtl


def names() -> list[str]:
    """The files of the list, from the Verilog's folder."""
    return [file.relative_to(RTL).as_posix() for file in sources()]


def checked(command: list[str], folder: Path) -> str:
    """Run a tool that must succeed; return what it said."""
    variables = {**os.environ, **environment()}
    variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_list_has_every_module_once() -> None:
    others = ("formal", "baseline", "tb")
    every = {file for file in RTL.rglob("*.sv") if file.parent.name not in others}
    assert len(sources()) == len(every)
    assert set(sources()) == every


def test_the_list_elaborates(tmp_path: Path) -> None:
    options = ["--lint-only", "-Wall", "--top-module", TOP, "-F", str(FILELIST)]
    assert "Warning" not in checked(["verilator", *options], tmp_path)


def bender() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((RTL / "Bender.yml").read_text(encoding="utf-8"))
    return content


def test_bender_elaborates(tmp_path: Path) -> None:
    found = [entry for entry in bender()["sources"] if isinstance(entry, str)]
    assert found == names()
    assert bender()["export_include_dirs"] == [INCLUDE.name]
    folders = [f"-I{RTL / folder}" for folder in bender()["export_include_dirs"]]
    files = [str(RTL / name) for name in found]
    checked(["verilator", "--lint-only", "-Wall", "--top-module", TOP, *folders, *files], tmp_path)


def test_fusesoc_elaborates(tmp_path: Path) -> None:
    text = (RTL / "hwsim.core").read_text(encoding="utf-8")
    assert text.startswith("CAPI=2:")
    core = yaml.safe_load(text.partition("\n")[2])
    listed = [entry for entry in core["filesets"]["rtl"]["files"] if isinstance(entry, str)]
    assert listed == names()
    line = ["fusesoc", "--cores-root", str(RTL), "run", "--target", "lint", "hwsim::tile"]
    assert "Warning" not in checked(line, tmp_path)
