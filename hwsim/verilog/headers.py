"""What the heads of our Verilog files say: parameters with their ranges, ports, comments.

It reads the style of ``rtl/`` alone, one declaration a line; tests/rtl/test_reference.py compares
what is found with what slang elaborates.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

PARAMETER = re.compile(r"\s*(parameter|localparam) (.+?)\s+(\w+)\s*= (.+?),?\s*(?://(.*))?$")
PORT = re.compile(
    r"\s*(input|output|inout)\s+(\w[\w:]*(?: signed)?(?:\s*\[[^\]]+\])*)\s+(\w+)\s*,?\s*(?://(.*))?$"
)
HEADING = re.compile(r"\s*//(.*)$")
INSTANCE = re.compile(r"^ +(\w+) #\(\n((?: +\.\w+ +\(.*\),?\n)+) *\) u_\w+ \(", re.MULTILINE)
ASSERTION = "`ASSERT_PARAMETER("


class Parameter(NamedTuple):
    """A parameter; ``settable``: it is no localparam."""

    name: str
    type: str
    default: str
    comment: str
    settable: bool


class Port(NamedTuple):
    """A port, or a heading above ports, which has a comment only."""

    name: str
    direction: str
    type: str
    comment: str


class Module(NamedTuple):
    """A file of ``rtl/``: a module, or a package, which has no parameters and ports.

    Attributes:
        name: Its name.
        file: Where it is.
        about: The first paragraph of its comment.
        parameters: In order.
        ports: In order, with their headings.
        conditions: What the parameters must fulfil.
        passed: Module to the parameters that its instances get under the same name.
    """

    name: str
    file: Path
    about: str
    parameters: list[Parameter]
    ports: list[Port]
    conditions: list[str]
    passed: dict[str, list[str]]

    def of(self, name: str) -> Parameter | None:
        """The parameter of a name."""
        return next((p for p in self.parameters if p.name == name and p.settable), None)

    def range(self, name: str) -> list[str]:
        """The conditions of which that parameter is the first one."""
        return [text for text in self.conditions if self._first(text) == name]

    def _first(self, condition: str) -> str:
        names = {p.name for p in self.parameters if p.settable}
        return next((word for word in re.findall(r"\w+", condition) if word in names), "")


def module(file: Path) -> Module:
    """Return what the head of a file says."""
    text = file.read_text(encoding="utf-8")
    found = re.search(r"^(?:module|package) (\w+)", text, re.MULTILINE)
    assert found is not None, file
    head = text[found.start() :].partition("\n);\n")[0] if found[0].startswith("module") else ""
    return Module(
        found[1],
        file,
        _about(text[: found.start()]),
        [_parameter(m) for m in map(PARAMETER.match, _whole(head)) if m],
        _ports(head),
        _conditions(text),
        {name: re.findall(r"\.(\w+) +\(\1\)", body) for name, body in INSTANCE.findall(text)},
    )


def _about(comments: str) -> str:
    """The paragraph after the licence."""
    lines = [line.removeprefix("//").strip() for line in comments.splitlines()]
    first = next(i for i, line in enumerate(lines) if line.startswith("SPDX")) + 2
    end = next((i for i in range(first, len(lines)) if not lines[i]), len(lines))
    return " ".join(lines[first:end])


def _whole(head: str) -> list[str]:
    """The lines, those of a declaration with open brackets joined."""
    found: list[str] = []
    for line in head.partition(") (\n")[0].splitlines():
        is_open = (
            bool(found)
            and PARAMETER.match(found[-1])
            and found[-1].count("(") > found[-1].count(")")
        )
        if is_open:
            found[-1] = f"{found[-1]} {line.strip()}"
        else:
            found.append(line)
    return found


def _parameter(found: re.Match[str]) -> Parameter:
    kind, type_, name, default, comment = found.groups()
    return Parameter(name, " ".join(type_.split()), default, _text(comment), kind == "parameter")


def _ports(head: str) -> list[Port]:
    found: list[Port] = []
    for line in head.partition(") (\n")[2].splitlines() or _bare(head):
        if port := PORT.match(line):
            direction, type_, name, comment = port.groups()
            found.append(Port(name, direction, " ".join(type_.split()), _text(comment)))
        elif heading := HEADING.match(line):
            found.append(Port("", "", "", _text(heading[1])))
    return found


def _bare(head: str) -> list[str]:
    """The lines of the ports of a module without parameters."""
    return [] if "#(" in head else head.partition("(\n")[2].splitlines()


def _conditions(text: str) -> list[str]:
    """The conditions of ``ASSERT_PARAMETER`` lines, which may go over several."""
    found = []
    for part in text.split(ASSERTION)[1:]:
        depth = 1
        for end, sign in enumerate(part):
            depth += (sign == "(") - (sign == ")")
            if not depth:
                condition = " ".join(part[:end].partition(",")[2].split())
                found.append(condition.replace("( ", "("))
                break
    return found


def _text(comment: str | None) -> str:
    return (comment or "").strip()
