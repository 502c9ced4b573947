"""Tables for people: as wide as there is room for, no digit and no name ever cut."""

from __future__ import annotations

import html
import math
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

GAP = 2
"""Blanks between two columns."""
NARROWEST = 12
"""Cells of a column of text below which rows are better written as blocks."""
LEAST = 20
"""Cells that are taken as there even if a terminal says fewer."""
_NUMBER = re.compile(r"[-+]?(\d[\d,]*\.?\d*|\.\d+)(e[-+]?\d+)?( ?[%x])?|-?inf|nan|any|-|")
_BREAKS = (
    re.compile(r"[^\s./:,]*[\s./:,]+|[^\s./:,]+"),
    re.compile(r"[^\s_+-]*[\s_+-]+|[^\s_+-]+"),
)
"""Pieces between which a line may be broken: after marks that part names, then inside names."""


@dataclass(frozen=True)
class Table:
    """Rows of text under names.

    Attributes:
        columns: Their names.
        rows: A cell a column; columns of numbers are set to the right.
        title: What the table shows.
        above: Text between title and table that keeps its form, such as a drawing of marks.
        notes: Lines under it.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    above: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        wrong = [row for row in self.rows if len(row) != len(self.columns)]
        if wrong:
            raise ValueError(f"{wrong[0]}: a row has one cell for each of {self.columns}")

    @property
    def numbers(self) -> tuple[bool, ...]:
        """Whether each column holds numbers only."""
        return tuple(
            all(_NUMBER.fullmatch(row[i]) for row in self.rows) for i in range(len(self.columns))
        )


def table_of(
    rows: Iterable[Mapping[str, Any]],
    title: str = "",
    notes: Sequence[str] = (),
    *,
    constants: bool = False,
) -> Table:
    """Return the table of rows of raw values; a missing value is an empty cell.

    Args:
        rows: Name to value; the columns are all names, in the order in which they come.
        title: See ``Table``.
        notes: See ``Table``.
        constants: Say a column with one value for all of several rows once, in a note, instead of
            in each row.
    """
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = {name: [text_of(row.get(name)) for row in rows] for name in names}
    if constants and len(rows) > 1:
        same = {name: cells.pop(name)[0] for name in names if len(set(cells[name])) == 1}
        notes = [", ".join(f"{name} {value}" for name, value in same.items()), *notes]
    return Table(tuple(cells), tuple(zip(*cells.values(), strict=True)), title, "", tuple(notes))


def text_of(value: object) -> str:
    """Return a value as a cell: four digits of a fraction, every digit before the point."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(text_of(part) for part in value)
    return str(value)


def number(value: float, digits: int = 4) -> str:
    """Return a number with that many significant digits, and with every one before the point."""
    whole = math.isfinite(value) and 10 ** (digits - 1) <= abs(value) < 1e15
    return f"{value:.0f}" if whole else f"{value:.{digits}g}"


def to_text(table: Table, width: int | None = None) -> str:
    """Return a table as text.

    Args:
        table: What to write.
        width: Cells of a line; None: as many as it takes. Where that is too few, columns of text
            are folded, and where those get too narrow every row becomes a block of lines.
    """
    room = None if width is None else max(width, LEAST)
    lines = _wrapped(table.title, room) if table.title else []
    lines += ["", *table.above.splitlines(), ""] if table.above else []
    if table.columns and table.rows:
        widths = _widths(table, room)
        lines += _blocks(table, room) if widths is None else _grid(table, widths)
    for note in table.notes:
        lines += _wrapped(note, room)
    return "".join(f"{line}\n" for line in lines)


def to_markdown(table: Table, level: int = 1) -> str:
    """Return a table as Markdown: a heading, the table, and its notes as a list."""
    lines = [f"{'#' * level} {_escaped(table.title)}", ""] if table.title else []
    lines += ["```", *table.above.splitlines(), "```", ""] if table.above else []
    if table.columns:
        rule = "|".join("---:" if right else "---" for right in table.numbers)
        lines += [_markdown_row(table.columns), f"|{rule}|"]
        lines += [_markdown_row(row) for row in table.rows]
    if table.notes:
        lines += [""] if table.columns else []
        lines += [f"- {_escaped(note)}" for note in table.notes]
    return "\n".join(lines) + "\n"


def to_html(tables: Sequence[Table], title: str) -> str:
    """Return tables as one HTML page that loads nothing."""
    parts = [_HEAD.format(title=html.escape(title))]
    for table in tables:
        if table.title not in {"", title}:
            parts.append(f"<h2>{html.escape(table.title)}</h2>")
        if table.above:
            parts.append(f"<pre>{html.escape(table.above)}</pre>")
        if table.columns:
            right = table.numbers
            parts.append("<table>")
            parts.append(_html_row("th", table.columns, right))
            parts += [_html_row("td", row, right) for row in table.rows]
            parts.append("</table>")
        parts += [f"<p>{html.escape(note)}</p>" for note in table.notes]
    return "\n".join([*parts, "</body>", "</html>", ""])


def _widths(table: Table, room: int | None) -> list[int] | None:
    """Return the cells of each column; None where no row fits a line."""
    from rich.cells import cell_len

    most, least = [], []
    for i, (name, number) in enumerate(zip(table.columns, table.numbers, strict=True)):
        cells = max((cell_len(row[i]) for row in table.rows), default=0)
        head = max(cell_len(piece.rstrip()) for piece in _BREAKS[1].findall(name) or [""])
        most.append(max(cells, cell_len(name)))
        least.append(max(head, cells if number else min(cells, NARROWEST)))
    if room is None:
        return most
    room -= GAP * (len(most) - 1)
    if sum(least) > room:
        return None
    while sum(most) > room:
        widest = max((m, i) for i, m in enumerate(most) if m > least[i])[1]
        most[widest] -= 1
    return most


def _grid(table: Table, widths: list[int]) -> Iterator[str]:
    """Yield the lines of a table whose columns fit, folded cells over several lines."""
    yield from _line(table.columns, widths, table.numbers)
    yield "─" * (sum(widths) + GAP * (len(widths) - 1))
    for row in table.rows:
        yield from _line(row, widths, table.numbers)


def _line(cells: Sequence[str], widths: list[int], right: Sequence[bool]) -> Iterator[str]:
    """Yield the lines of one row."""
    from rich.cells import cell_len

    folded = [fold(cell, width) for cell, width in zip(cells, widths, strict=True)]
    for parts in zip_longest(*folded, fillvalue=""):
        line = []
        for part, width, number in zip(parts, widths, right, strict=True):
            blank = " " * (width - cell_len(part))
            line.append(blank + part if number else part + blank)
        yield (" " * GAP).join(line).rstrip()


def _blocks(table: Table, room: int | None) -> Iterator[str]:
    """Yield every row as a block of lines, a name and its value each."""
    from rich.cells import cell_len

    longest = max(cell_len(name) for name in table.columns)
    numbers = [i for i, numeric in enumerate(table.numbers) if numeric]
    least = max((cell_len(row[i]) for row in table.rows for i in numbers), default=0)
    aside = room is None or room - longest - GAP >= max(NARROWEST, least)
    for row in table.rows:
        for name, cell in zip(table.columns, row, strict=True):
            if aside:
                left = None if room is None else room - longest - GAP
                lines = fold(cell, left) or [""]
                yield f"{name}{' ' * (longest - cell_len(name) + GAP)}{lines[0]}".rstrip()
                yield from (f"{' ' * (longest + GAP)}{line}" for line in lines[1:])
            else:
                yield from fold(f"{name}: {cell}", room)
        yield ""


def fold(text: str, width: int | None) -> list[str]:
    """Return the text in lines of at most ``width`` cells, broken after marks where possible.

    Nothing but blanks at the breaks is lost.
    """
    from rich.cells import cell_len

    if width is None or cell_len(text) <= width:
        return text.splitlines() or [""]
    lines = [""]
    for piece in _pieces(text, width):
        if lines[-1] and cell_len(lines[-1] + piece.rstrip()) > width:
            lines.append("")
        lines[-1] += piece
    return [line.rstrip() for line in lines]


def _pieces(text: str, width: int) -> Iterator[str]:
    """Yield parts of at most ``width`` cells, blanks at their ends aside."""
    from rich.cells import cell_len, chop_cells

    for name in _BREAKS[0].findall(text):
        if cell_len(name.rstrip()) <= width:
            yield name
            continue
        for part in _BREAKS[1].findall(name):
            yield from chop_cells(part, width) if cell_len(part.rstrip()) > width else [part]


def _wrapped(line: str, room: int | None) -> list[str]:
    """Return a line of prose, in several where it is too long."""
    if room is None:
        return [line]
    indent = "  " if line.startswith("  ") else ""
    return textwrap.wrap(
        line, room, subsequent_indent=indent + "  ", break_on_hyphens=False, drop_whitespace=True
    ) or [""]


def _escaped(text: str) -> str:
    """Escape what Markdown or HTML would take for its own."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([|*_`\[\]])", r"\\\1", text)


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _html_row(tag: str, cells: Sequence[str], right: Sequence[bool]) -> str:
    marks = (' class="number"' if number else "" for number in right)
    pairs = zip(marks, cells, strict=True)
    return f"<tr>{''.join(f'<{tag}{m}>{html.escape(c)}</{tag}>' for m, c in pairs)}</tr>"


_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2rem; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 0.2rem 0.6rem; text-align: left; border-bottom: 1px solid #8884; }}
.number {{ text-align: right; font-variant-numeric: tabular-nums; }}
</style>
</head>
<body>
<h1>{title}</h1>"""
