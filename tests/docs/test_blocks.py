"""Every code block of the documents runs, or says above itself why it does not."""

from __future__ import annotations

import json
import shutil
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.docs.commands import COMMANDS, run_command, run_python
from tests.docs.markdown import DOCUMENTS, ROOT, Block, all_blocks, blocks, shell_lines
from tests.docs.small_model import in_place, in_text

BLOCKS = all_blocks()
PYTHON = [block for block in BLOCKS if block.language == "python"]
SHELL = [block for block in BLOCKS if block.language == "sh"]
LANGUAGES = {"python", "sh", "toml", "csv", "json", "yaml", "mermaid"}
LEAST_WORDS = 3


def reasons() -> list[tuple[str, str]]:
    """What is not run, and why."""
    return [
        (f"{block} {entry.prefix}", entry.text)
        for block in BLOCKS
        for entry in block.directives
        if entry.how == "not run"
    ]


def write_files(block: Block, folder: Path) -> None:
    """Write the files that the blocks before this one are."""
    for other in blocks(block.document):
        if other.line <= block.line and other.file_name:
            (folder / other.file_name).write_text(other.text, encoding="utf-8")


def program(block: Block) -> str:
    """The Python text of a block and of those that it continues, each at its own line number."""
    parts = [block]
    before = [b for b in blocks(block.document) if b.language == "python" and b.line < block.line]
    while parts[0].continues:
        parts.insert(0, before.pop())
    text = ""
    for part in parts:
        text += "\n" * (part.line - 1 - text.count("\n")) + part.text
    return text


def prepared(block: Block, folder: Path) -> tuple[Path, Path]:
    """Write a block's program and files to a folder; return both, as ``run_python`` wants them."""
    folder.mkdir(exist_ok=True)
    write_files(block, folder)
    path = folder / f"{block.document.stem}_{block.line}.py"
    path.write_text(program(block), encoding="utf-8")
    return path, folder


QUICK = [block for block in PYTHON if block.how == "run"]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What went wrong with each quick block and each example in Python; one process for all."""
    at = tmp_path_factory.mktemp("blocks")
    jobs = [prepared(block, at / str(number)) for number, block in enumerate(QUICK)]
    shutil.copytree(ROOT / "examples", at / "examples")
    jobs += [(at / "examples" / path.name, at) for path in EXAMPLES]
    names = [*map(str, QUICK), *(path.name for path in EXAMPLES)]
    return dict(zip(names, run_python(jobs, at), strict=True))


@pytest.mark.parametrize("block", QUICK, ids=str)
def test_python_blocks_run(block: Block, faults: dict[str, str]) -> None:
    assert not faults[str(block)], faults[str(block)]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_python_examples_run(path: Path, faults: dict[str, str]) -> None:
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == f"# python examples/{path.name}"
    assert not faults[path.name], faults[path.name]


@pytest.mark.slow
@pytest.mark.parametrize("block", [b for b in PYTHON if b.how == "slow"], ids=str)
def test_long_python_blocks_run(block: Block, tmp_path: Path) -> None:
    path, folder = prepared(block, tmp_path / "block")
    path.write_text(in_text(path.read_text(encoding="utf-8"), folder), encoding="utf-8")
    (fault,) = run_python([(path, folder)], tmp_path)
    assert not fault, fault


def commands(how: str) -> list[object]:
    """The shell blocks that have such lines."""
    chosen = [block for block in SHELL if any(c.how == how for c in block.commands())]
    return [pytest.param(block, id=str(block)) for block in chosen]


def run_shell(block: Block, hows: set[str], folder: Path) -> None:
    shutil.copytree(ROOT / "examples", folder / "examples")
    write_files(block, folder)
    for command in block.commands():
        assert command.how == "not run" or command.words[0] in COMMANDS, (
            f"{block}: {' '.join(command.words)}: not a command of ours; say why it is not run"
        )
        if command.how in hows:
            words = in_place(command.words, folder) if command.how == "slow" else command.words
            run_command(words, folder)


@pytest.mark.parametrize("block", commands("run"))
def test_commands_run(block: Block, tmp_path: Path) -> None:
    run_shell(block, {"run"}, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("block", commands("slow"))
def test_long_commands_run(block: Block, tmp_path: Path) -> None:
    run_shell(block, {"run", "slow"}, tmp_path)


@pytest.mark.parametrize(("what", "why"), reasons(), ids=lambda text: " ".join(text.split())[:90])
def test_what_is_not_run_says_why(what: str, why: str) -> None:
    assert len(why.split()) >= LEAST_WORDS, what


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_block_is_of_a_known_language_and_its_comments_mean_something(block: Block) -> None:
    assert block.language in LANGUAGES
    lines = block.text.splitlines()
    for entry in block.directives:
        used = any(line.startswith(entry.prefix) for line in lines) or not entry.prefix
        assert used, f"{block.document.name}:{entry.line}: no line begins with {entry.prefix}"
    if block.language == "toml":
        tomllib.loads(block.text)
    if block.language == "json":
        json.loads(block.text)
    if block.language == "yaml":
        yaml.safe_load(block.text)


def test_a_comment_that_would_be_ignored_is_found() -> None:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        written = sum(text.count(f"<!-- {how}") for how in ("continues", "slow", "smaller", "not "))
        understood = sum(len(block.directives) for block in blocks(document))
        assert written == understood, document


def test_the_set_up_of_contributors_is_the_first_half_of_the_readmes_test_command() -> None:
    after = (ROOT / "README.md").read_text(encoding="utf-8").split("<!-- test -->")[1]
    command = shell_lines(after.split("```")[1].removeprefix("sh\n"))[0]
    first = next(block for block in blocks(ROOT / "CONTRIBUTING.md") if block.language == "sh")
    assert shell_lines(first.text) == [command.split(" && ")[0]]
