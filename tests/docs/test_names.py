"""What the documents name exists: modules, functions, paths, links."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.docs.commands import COMMANDS
from tests.docs.markdown import DOCUMENTS, ROOT, blocks

TEXTS = [*DOCUMENTS, *sorted((ROOT / "docs/adr").glob("*.md"))]
FOLDERS = (
    r"quant|roofline|hwsim|rtl|tests|docs|scripts|benchmarks|examples|reports|\.ci|\.github"
    r"|array|pe|baseline|formal|generated"
)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
DOTTED = re.compile(r"(?:quant|roofline|hwsim|tests|benchmarks)(?:\.[A-Za-z_]\w*)+")
PATH = re.compile(rf"(?:{FOLDERS})/[\w./-]*|[A-Z]+\.md|pyproject\.toml|\.pre-commit-config\.yaml")
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


def prose(path: Path) -> str:
    """The text of a document without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)


def spans(path: Path) -> set[str]:
    """The texts between backticks, without the arguments of calls."""
    return {span.split("(")[0] for span in SPAN.findall(prose(path))}


def resolve(name: str) -> object:
    """Return what a dotted name names: a module, or attributes of one."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            found: object = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
            continue
        for part in parts[end:]:
            annotated = getattr(found, "__dataclass_fields__", {})
            found = annotated[part] if part in annotated else getattr(found, part)
        return found
    raise ModuleNotFoundError(name)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_can_be_imported(path: Path) -> None:
    missing = []
    for name in sorted(spans(path)):
        if DOTTED.fullmatch(name) and Path(name).suffix not in {".py", ".md", ".toml", ".core"}:
            try:
                resolve(name)
            except (ModuleNotFoundError, AttributeError) as error:
                missing.append(f"{name}: {error}")
    assert missing == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(path: Path) -> None:
    own = {block.file_name for block in blocks(path)}  # what a reader is to write
    named = {s for s in spans(path) if PATH.fullmatch(s) and Path(s).name not in own}
    places = (ROOT, ROOT / "rtl")
    assert [n for n in sorted(named) if not any((p / n).exists() for p in places)] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    targets = set(LINK.findall(prose(path)))
    assert [target for target in sorted(targets) if not (path.parent / target).exists()] == []


@cache
def options() -> dict[str, set[str]]:
    """Command to its options; the commands of a package are joined under its name."""
    found: dict[str, set[str]] = {}
    for name in COMMANDS:
        group: Any = typer.main.get_command(importlib.import_module(f"{name}.cli").app)
        for sub, command in group.commands.items():
            own = {opt for p in command.params for opt in (*p.opts, *p.secondary_opts)} | {"--help"}
            found[f"{name} {sub}"] = own
            found[name] = found.get(name, {"--version"}) | own
    return found


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_exist(path: Path) -> None:
    known, missing = options(), []
    every = {option for name in COMMANDS for option in known[name]}
    for span in SPAN.findall(prose(path)):
        words = span.split()
        if words[0] in COMMANDS:
            sub = " ".join(words[:2])
            if len(words) > 1 and words[1].islower() and words[1].isalpha():
                assert sub in known, f"{span}: no such command"
            allowed = known.get(sub, known[words[0]])
        elif words[0].startswith("--"):
            allowed = every
        else:
            continue
        given = {re.split(r"[=|/]", word)[0] for word in words if word.startswith("--")}
        missing += [f"{span}: {option}" for option in sorted(given - allowed)]
    assert missing == []


def test_a_name_that_is_not_there_would_be_found() -> None:
    assert resolve("quant.formats.format.Format.tables") is not None
    assert resolve("hwsim.pe.Arithmetic.lanes") is not None
    with pytest.raises(AttributeError):
        resolve("quant.formats.format.Form")
    with pytest.raises(AttributeError):
        resolve("quant.format_.Format")
