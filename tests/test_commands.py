"""What holds for every command of the three command lines."""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import typer

from quant.common.options import SCENARIO

ROOT = Path(__file__).parents[1]
NAMES = ("quant", "roofline", "hwsim")
HEAVY = {"torch", "numba", "pandas", "scipy", "matplotlib", "transformers", "pyarrow"}
SPACE = ROOT / "examples/space.toml"
SMALL = ["--prompt", "8", "--generate", "1"]
RESULTS: dict[str, list[str]] = {
    "quant list": [],
    "quant show": ["bitmod3"],
    "roofline list": ["models", "llama"],
    "roofline report": ["smollm2-135m", "h100-sxm"],
    "roofline compare": ["smollm2-135m", "h100-sxm", "--weights", "fp16,int4"],
    "roofline sweep": ["smollm2-135m", "h100-sxm,a100-80g", "--batch", "1:2"],
    "roofline serve": ["smollm2-135m", "h100-sxm"],
    "hwsim list": [],
    "hwsim simulate": ["smollm2-135m", "bitmod", *SMALL],
    "hwsim sweep": [str(SPACE), *SMALL],
    "hwsim show": ["bitmod"],
    "hwsim timeline": ["bitmod"],
    "hwsim compare": ["fp16", "bitmod", *SMALL],
}
"""Commands with a result, and arguments that take seconds."""
DRAWN = (
    "roofline report",
    "roofline compare",
    "roofline sweep",
    "hwsim simulate",
    "hwsim sweep",
    "hwsim show",
    "hwsim timeline",
    "hwsim compare",
)
LONG = {"quant eval": ["nothing"], "hwsim margins": ["nothing", "bitmod"], "roofline validate": []}
"""Commands that take long: only what they refuse before is asked here."""


def commands() -> dict[str, Any]:
    """Every command, as ``quant list``, to typer's object for it."""
    return {
        f"{name} {sub}": command
        for name in NAMES
        for sub, command in typer.main.get_command(
            importlib.import_module(f"{name}.cli").app
        ).commands.items()  # type: ignore[attr-defined]  # a group has commands
    }


COMMANDS = commands()
PARAMETERS = [
    (name, parameter.name) for name, command in COMMANDS.items() for parameter in command.params
]


def run(
    line: str, *arguments: str, encoding: str = "utf-8", columns: int = 0
) -> tuple[int, str, str]:
    """Run a command in this process, its output a pipe; return exit code, output and errors."""
    name, *words = line.split()
    written = io.BytesIO()
    out = io.TextIOWrapper(written, encoding=encoding, newline="")
    errors = io.StringIO()
    code: Any = 0
    given = {"COLUMNS": str(columns)} if columns else {"COLUMNS": ""}
    main = importlib.import_module(f"{name}.cli").main
    with (
        mock.patch.object(sys, "argv", [name, *words, *arguments]),
        mock.patch.object(sys, "stdout", out),
        mock.patch.dict(os.environ, given),
        redirect_stderr(errors),
    ):
        try:
            main()
        except SystemExit as exit_:
            code = exit_.code
        out.flush()
    return code or 0, written.getvalue().decode(encoding), errors.getvalue()


@pytest.mark.parametrize(("name", "parameter"), PARAMETERS)
def test_a_parameter_has_a_help_that_states_its_default(name: str, parameter: str) -> None:
    found = next(p for p in COMMANDS[name].params if p.name == parameter)
    context = typer.Context(COMMANDS[name], info_name=name)
    shown = found.get_help_record(context)[1]
    assert found.help
    assert "[default: " in shown or "required]" in shown, shown


@pytest.mark.parametrize("name", COMMANDS)
def test_help_ends_with_an_example_on_one_line(name: str) -> None:
    code, out, _ = run(name, "--help")
    assert code == 0
    example = out.rstrip().splitlines()[-1].strip()
    assert example.startswith(f"Example: {name}")


@pytest.mark.parametrize("name", NAMES)
def test_a_command_line_tells_its_version_and_lists_its_commands(name: str) -> None:
    assert re.fullmatch(rf"{name} \d+\.\d+\.\d+\n", run(name, "--version")[1])
    code, out, _ = run(name)
    assert code == 0
    assert "Example: " in out
    for command in COMMANDS:
        if command.startswith(f"{name} "):
            assert re.search(rf"^  {command.split()[1]} ", out, re.M), command
    assert "..." not in out.replace("[ARGS]...", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_quiet(name: str) -> None:
    assert "--quiet" in options(name)


def options(name: str) -> dict[str, Any]:
    return {option: p for p in COMMANDS[name].params for option in p.opts}


def test_an_option_means_the_same_everywhere() -> None:
    # The place of a result is a file or a folder; everything else is said in the same words.
    meanings: dict[str, set[str]] = {}
    for name in COMMANDS:
        for option, parameter in options(name).items():
            if option.startswith("--") and option != "--out":
                first = re.split(r"[.:;]", parameter.help)[0]
                meanings.setdefault(option, set()).add(first)
    assert {option: texts for option, texts in meanings.items() if len(texts) > 1} == {}


def test_scenarios_have_the_same_defaults_or_say_why_not() -> None:
    defaults = {"--prompt": 256, "--generate": 32, "--batch": 1}
    for name in COMMANDS:
        for option, value in defaults.items():
            parameter = options(name).get(option)
            if parameter is None or parameter.default is None:
                continue  # a list's default stands in its help
            meaning = SCENARIO[option.removeprefix("--")]
            assert parameter.help.startswith(meaning)
            assert parameter.default == value or len(parameter.help) > len(meaning), name


def test_lists_are_said_in_the_same_words() -> None:
    for name in COMMANDS:
        for parameter in COMMANDS[name].params:
            if getattr(parameter, "multiple", False):
                assert "Repeat it, or use commas, for several" in parameter.help


@pytest.mark.parametrize("flag", ["--format", "--plot", "--isl", "--concurrency"])
@pytest.mark.parametrize("name", RESULTS)
def test_former_options_are_refused(name: str, flag: str) -> None:
    code, out, errors = run(name, *RESULTS[name], flag, "json")
    assert (code, out) == (2, "")
    assert f"No such option: {flag}" in errors
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("name", RESULTS)
def test_every_result_has_every_form(name: str, tmp_path: Path) -> None:
    import pandas as pd

    arguments = RESULTS[name]
    files = {s: tmp_path / f"result.{s}" for s in ("txt", "json", "csv", "md", "html", "parquet")}
    for path in files.values():
        assert run(name, *arguments, "-o", str(path)) == (0, "", ""), path
    for form in ("json", "csv", "md"):
        code, out, _ = run(name, *arguments, "--output", form)
        assert (code, out) == (0, files[form].read_text("utf-8"))
    assert json.loads(files["json"].read_text())["schema"].startswith(
        f"{name.split(maxsplit=1)[0]}."
    )
    assert files["html"].read_text().lower().startswith("<!doctype html>")
    table = pd.read_csv(files["csv"])
    assert len(table)
    again = pd.read_parquet(files["parquet"])
    assert list(again.columns) == list(table.columns)
    assert len(again) == len(table)


@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_drawn(name: str, tmp_path: Path) -> None:
    starts = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    for suffix, start in starts.items():
        path = tmp_path / f"figure.{suffix}"
        assert run(name, *RESULTS[name], "-o", str(path))[0] == 0
        assert path.read_bytes().startswith(start)
    first = (tmp_path / "figure.svg").read_text()
    assert "<dc:date>" not in first


@pytest.mark.parametrize("name", [*RESULTS, *LONG])
def test_a_place_that_will_not_do_is_refused_before_the_work(name: str, tmp_path: Path) -> None:
    # The arguments of long commands name nothing: were they looked at, the message would say so.
    arguments = (RESULTS | LONG)[name]
    (tmp_path / "file").write_text("kept")
    places = {
        "result.xyz": "the name must end in",
        "result": "the name must end in",
        "file/result.md": "is a file, not a folder",
    }
    if name not in DRAWN:
        places["result.svg"] = "the name must end in"
    for place, message in places.items():
        code, out, errors = run(name, *arguments, "-o", str(tmp_path / place))
        assert (code, out) == (2, ""), errors
        assert message in errors
        assert len(errors.splitlines()) == 1
    code, _, errors = run(name, *arguments, "-o", str(tmp_path))
    assert code == 2
    folder = tmp_path / "folder.md"
    folder.mkdir()
    code, _, errors = run(name, *arguments, "-o", str(folder))
    assert (code, "is a folder" in errors) == (2, True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.md"]
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.parametrize("name", RESULTS)
def test_a_suffix_that_contradicts_the_form_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    code, _, errors = run(name, *RESULTS[name], "--output", "json", "-o", str(path))
    assert (code, "name two forms" in errors, path.exists()) == (2, True, False)
    named = tmp_path / "result.data"
    assert run(name, *RESULTS[name], "--output", "json", "-o", str(named))[0] == 0
    assert json.loads(named.read_text())["schema"]


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("quant eval", ["nothing", "--head", "int8"], "--weights or --plan is needed too"),
        ("quant eval", ["nothing", "--weights", "int4,,int3"], "between commas is empty"),
        ("quant eval", ["nothing", "--kv", "int44"], "nearest: int4"),
        ("quant eval", ["nothing", "--method", "rtn,gptk"], "nearest: gptq"),
        ("quant eval", ["nothing", "--dtype", "float61"], "nearest: float16"),
        ("quant quantize", ["nothing", "-o", "x"], "one of --weights and --plan is needed"),
        ("quant quantize", ["nothing", "-o", "x", "--weights", "99"], "unknown format '99'"),
        ("roofline report", ["gpt2", "h100-sxm", "--batch", "many"], "not 'many'"),
        ("roofline report", ["gpt2", "h100-sxm", "--output", "svg"], "'svg' is not one of 'table'"),
        ("roofline report", ["gpt2", "h100-sxm", "-o", "x.html", "--past", "3"], "past '3'"),
        ("roofline calibrate", ["h100-sxm", "-o", "x.csv"], "must end in .toml"),
        ("hwsim simulate", ["gpt2", "bitmod", "--kv", "fp16"], "cannot run 'fp16'"),
        ("hwsim simulate", ["gpt2", "bitmod", "--head", "bitmod5"], "nearest: bitmod"),
        ("hwsim simulate", ["gpt2", "bitmod", "--activations", "int8"], "takes fp16 activations"),
        ("hwsim margins", ["nothing", "bitmod", "--budget", "3.3,x"], "numbers such as 3.3,3.7"),
        ("hwsim margins", ["nothing", "bitmod", "--output", "json"], "'json' is not one of 'md'"),
        ("hwsim codesign", ["nothing", "bitmod"], "a budget is needed"),
    ],
)
def test_wrong_requests_are_refused_in_one_line_before_any_work(
    name: str,
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A model called "nothing" is unknown: were it loaded, the message would say so.
    monkeypatch.chdir(tmp_path)
    code, out, errors = run(name, *arguments)
    assert (code, out) == (2, ""), errors
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_number_formats_of_a_simulation() -> None:
    def simulated(*arguments: str) -> dict[str, Any]:
        code, out, errors = run(
            "hwsim simulate", "smollm2-135m", "bitmod", *SMALL, "--output", "json", *arguments
        )
        assert code == 0, errors
        content: dict[str, Any] = json.loads(out)
        return content

    own, other = simulated(), simulated("--kv", "4", "--head", "4", "--activations", "fp16")
    assert {key: other[key] for key in ("weights", "activations", "kv", "head")} == {
        "weights": own["weights"],
        "activations": own["activations"],
        "kv": "int4:g128:int8",
        "head": "int4:g128:int8",
    }
    assert other["energy_j"]["dram"] < own["energy_j"]["dram"]


def test_what_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for suffix, message in {"parquet": "hwsim[parquet]", "png": "hwsim[codesign]"}.items():
        arguments = [*RESULTS["roofline sweep"], "-o", str(tmp_path / f"s.{suffix}")]
        code, _, errors = run("roofline sweep", *arguments)
        assert (code, message in errors) == (2, True), errors


@pytest.mark.parametrize("name", RESULTS)
def test_tables_keep_every_name_and_digit_at_80_columns(name: str) -> None:
    wide = run(name, *RESULTS[name])[1]
    narrow = run(name, *RESULTS[name], columns=80)[1]
    assert all(len(line) <= 80 for line in narrow.splitlines())
    numbers = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w.-])")
    assert set(numbers.findall(narrow)) >= set(numbers.findall(wide))
    assert not re.search(r"…|\w\.\.\w", narrow)
    # Characters that are neither blanks nor rules: a block of lines repeats the names of columns.
    for sign in set(wide) - set(" \n─"):
        assert narrow.count(sign) >= wide.count(sign), sign


@pytest.mark.parametrize("name", RESULTS)
def test_output_without_utf8_says_the_same_in_other_signs(name: str) -> None:
    code, out, errors = run(name, *RESULTS[name], encoding="ascii")
    assert (code, errors) == (0, "")
    assert "?" not in out
    whole = run(name, *RESULTS[name])[1]
    assert [len(line) for line in out.splitlines()] == [len(line) for line in whole.splitlines()]


@pytest.mark.parametrize("name", ["quant show bitmod3", "roofline compare smollm2-135m h100-sxm"])
def test_processes_without_utf8_do_not_fail(name: str) -> None:
    words = name.split()
    plain = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C", "PYTHONUTF8": "0"}
    code = f"from {words[0]}.cli import main; main()"
    for given in (plain, plain | {"PYTHONIOENCODING": "", "PYTHONCOERCECLOCALE": "0"}):
        line = [sys.executable, "-c", code, *words[1:]]
        done = subprocess.run(line, capture_output=True, env=os.environ | given, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"---" in done.stdout


@pytest.mark.parametrize("name", NAMES)
def test_importing_a_command_line_loads_nothing_heavy(name: str) -> None:
    code = f"import sys, {name}.cli; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_command_line_is_a_module_too() -> None:
    line = [sys.executable, "-m", "quant.cli", "--version"]
    done = subprocess.run(line, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("quant ")


def test_a_reader_that_has_enough_is_no_error() -> None:
    code = "from quant.cli import main; main()"
    line = [sys.executable, "-c", code, "list", "--output", "json"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


def test_the_reference_is_up_to_date() -> None:
    line = [sys.executable, str(ROOT / "scripts/cli_reference.py"), "--check"]
    done = subprocess.run(line, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    page = (ROOT / "docs/cli.md").read_text()
    for name in COMMANDS:
        assert f"### {name}\n" in page
