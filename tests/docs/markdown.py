"""Fenced blocks of the Markdown documents, and the HTML comments above them that say how to run.

Comments stand on lines of their own directly above a block:

``<!-- continues -->``               the block goes on where the Python block before it ended
``<!-- slow -->``                    the block runs under the marker ``slow``
``<!-- not run: REASON -->``         the block is not run
``<!-- slow `COMMAND` -->``          of a shell block: the lines that begin so are slow
``<!-- smaller `COMMAND`: ... -->``  the lines that begin so get these options as well
``<!-- not run `COMMAND`: REASON -->``  the lines that begin so are not run

A block whose first line is a comment with a file name (``# thirds.toml``) is that file: later
blocks of the document find it in their working folder.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "rtl/README.md", ROOT / "tests/golden/README.md",
]  # fmt: skip
COMMENT = re.compile(
    r"<!-- (?P<how>continues|slow|smaller|not run)"
    r"(?: `(?P<prefix>[^`]+)`)?(?:: ?(?P<text>.*?))? -->"
)
How = Literal["run", "slow", "not run"]


@dataclass(frozen=True)
class Directive:
    """One of the comments above; ``line`` is its place in the document."""

    how: str
    prefix: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A line of a shell block."""

    words: tuple[str, ...]
    how: How
    reason: str = ""


@dataclass(frozen=True)
class Block:
    """A fenced block; ``line`` is that of its first line of text, from 1."""

    document: Path
    line: int
    language: str
    text: str
    directives: tuple[Directive, ...]

    def __str__(self) -> str:
        return f"{self.document.relative_to(ROOT)}:{self.line}"

    @property
    def file_name(self) -> str | None:
        """The name of the file that the block is; None: it is none."""
        found = re.match(r"# ([\w-]+\.(?:py|toml|csv|json))\b", self.text)
        return found[1] if found else None

    @property
    def how(self) -> How:
        """How the block as a whole is run."""
        found = {entry.how for entry in self.directives if not entry.prefix}
        return "not run" if "not run" in found else "slow" if "slow" in found else "run"

    @property
    def continues(self) -> bool:
        """Whether it goes on where the Python block before it ended."""
        return any(entry.how == "continues" for entry in self.directives)

    def commands(self) -> list[Command]:
        """Return the lines of a shell block as they are to be run."""
        return [self._command(line) for line in shell_lines(self.text)]

    def _command(self, line: str) -> Command:
        own = [e for e in self.directives if e.prefix and line.startswith(e.prefix)]
        more = [word for e in own if e.how == "smaller" for word in shlex.split(e.text)]
        found = {entry.how: entry for entry in own}
        how: How = "not run" if "not run" in found else "slow" if "slow" in found else self.how
        reason = found["not run"].text if "not run" in found else ""
        return Command((*shlex.split(line, comments=True), *more), how, reason)


def shell_lines(text: str) -> list[str]:
    """Return the commands of a shell block, without comments; a backslash joins two lines."""
    joined = text.replace("\\\n", " ").splitlines()
    return [line.strip() for line in joined if shlex.split(line, comments=True)]


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document."""
    lines = document.read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    above: list[Directive] = []
    number = 0
    while number < len(lines):
        line = lines[number]
        number += 1
        if line.startswith("```"):
            end = next(i for i in range(number, len(lines)) if lines[i] == "```")
            text = "".join(f"{entry}\n" for entry in lines[number:end])
            found.append(Block(document, number + 1, line[3:].strip(), text, tuple(above)))
            number, above = end + 1, []
        elif line.startswith("<!--"):
            for comment in COMMENT.finditer(line):
                how, prefix, text = (comment[name] or "" for name in ("how", "prefix", "text"))
                above.append(Directive(how, prefix, text, line=number))
        elif line.strip():
            above = []
    return found


def all_blocks() -> list[Block]:
    """Return the fenced blocks of all documents."""
    return [block for document in DOCUMENTS if document.is_file() for block in blocks(document)]
