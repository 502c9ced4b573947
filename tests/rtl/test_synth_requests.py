"""Bad requests of the synthesis command are one line of words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hwsim.verilog.synth.designs import load
from hwsim.verilog.synth.yosys import WORKER
from tests.rtl.synth_cases import (
    COUNTER,
    designs,
    refusal,
    run,
    write_liberty,
)

pytestmark = pytest.mark.rtl


@pytest.fixture
def liberty(tmp_path: Path) -> Path:
    return write_liberty(tmp_path)


def test_every_design_of_the_project_has_its_files() -> None:
    assert "decoder-all" in [design.name for design in load()]


def test_bad_requests_are_one_line(tmp_path: Path, liberty: Path) -> None:
    assert "unknown design 'pe9'; allowed: " in refusal("--design", "pe9")
    line = refusal("--designs", designs(tmp_path), "--design", "no")
    assert line.endswith("unknown design 'no'; allowed: counter; groups: small\n")
    missing = tmp_path / "missing.lib"
    assert f"{missing}: No such file" in refusal("--liberty", missing)
    text = tmp_path / "text.lib"
    text.write_text("module a; endmodule", encoding="utf-8")
    assert f"{text} is no Liberty file" in refusal("--liberty", text)
    text.write_bytes(b"\x1f\x8b broken")
    assert f"{text}: " in refusal("--liberty", text)
    assert "'zz*' matches no cell" in refusal("--liberty", liberty, "--dont-use", "zz*")
    assert "is a folder" in refusal("-o", tmp_path, "--output", "md")
    assert ".txt, .json or .md" in refusal("-o", tmp_path / "a.svg")
    assert "--tries" in refusal("--tries", "0")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("note", "notes", "design counter: unknown key 'notes'; allowed: name, top, sources"),
        ("[[design]]", "[[designs]]", "unknown key 'designs'; allowed: design"),
        ('"counter"', "7", "design number 1: name must be a str, it is 7"),
        ('note = "Counts."', "", "note is missing"),
        ("a counter.sv", "none.sv", "no file"),
        ('top = "counter"', 'top = "counters"', "no module 'counters' in its sources"),
        ("{  }", "{ Depth = 3 }", "module counter has no parameter 'Depth'"),
        ("{  }", "{ Width = 1.5 }", "parameter Width must be a whole number"),
        ("[[design]]", "[[design", "designs.toml"),
    ],
)
def test_a_wrong_designs_file_is_one_line(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = designs(tmp_path)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    assert said in refusal("--designs", path)


def test_verilog_that_fails_is_named(tmp_path: Path) -> None:
    path = designs(tmp_path)
    source = tmp_path / "a counter.sv"
    source.write_text(COUNTER.replace("rst_ni ?", "no_such ?"), encoding="utf-8")
    done = run("--designs", path)
    assert done.returncode == 1
    assert f"{source}:5: ERROR: use of undeclared identifier 'no_such'" in done.stdout
    assert "Traceback" not in done.stderr


def test_missing_pyosys_is_said_in_words() -> None:
    code = (
        "import sys; sys.modules['pyosys'] = None; "
        "from hwsim.verilog.synth.__main__ import main; main()"
    )
    assert "pip install 'hwsim[synth]'" in refusal(code=code)


def test_the_child_process_imports_nothing_of_the_project() -> None:
    code = (
        "import runpy, sys; runpy.run_path(sys.argv[1]);"
        "print([name for name in ('quant', 'roofline', 'hwsim', 'numpy', 'pyosys')"
        " if name in sys.modules])"
    )
    assert run(WORKER, code=code).stdout == f"[]{os.linesep}"


def test_the_command_starts_without_the_heavy_parts() -> None:
    code = (
        "import sys, hwsim.verilog.synth.__main__;"
        "print([name for name in ('torch', 'numba', 'pandas', 'scipy', 'matplotlib', 'pyosys')"
        " if name in sys.modules])"
    )
    assert run(code=code).stdout == f"[]{os.linesep}"
