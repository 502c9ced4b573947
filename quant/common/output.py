"""Where a command's result goes, and in which form: one choice for all three commands."""

from __future__ import annotations

import io
import json
import math
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from quant.common.errors import RequestError
from quant.common.extras import is_missing, needed
from quant.common.files import atomic_path, write_text
from quant.common.tables import Table, table_of, to_html, to_markdown, to_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Form = Literal["table", "json", "csv", "md", "html"]
"""What ``--output`` names; the others are files only and are chosen by their suffix."""
TABLES = ("table", "json", "csv", "md", "html", "parquet")
"""Forms of a result that is rows."""
FIGURES = (*TABLES, "svg", "png", "pdf")
"""Forms of a result that is also drawn."""
LONGEST = 240
"""Bytes of a name: systems take 255, and what is being made has a longer one."""
UNKNOWN = 80
"""Cells of a line of a terminal that does not tell."""
SUFFIXES = {".txt": "table", ".htm": "html", ".toml": "toml"} | {f".{f}": f for f in FIGURES[1:]}
NEEDS = {"parquet": "pyarrow", "svg": "matplotlib", "png": "matplotlib", "pdf": "matplotlib"}
"""Form to the optional module that writes it."""


@dataclass(frozen=True)
class Report:
    """A result in every form that a command may offer; each part is made only when asked for.

    Attributes:
        title: What it is.
        schema: Name and version of its JSON, such as ``roofline.report/1``.
        content: The JSON's keys: SI units, raw numbers.
        tables: What people read.
        frame: Rows of raw numbers, for CSV and Parquet.
        figure: A drawing; None: there is none.
        page: An HTML page of its own; None: the tables.
    """

    title: str
    schema: str
    content: Callable[[], Mapping[str, Any]]
    tables: Callable[[], Sequence[Table]]
    frame: Callable[[], pd.DataFrame]
    figure: Callable[[], Figure] | None = None
    page: Callable[[], str] | None = None

    @classmethod
    def of_rows(
        cls,
        title: str,
        schema: str,
        rows: Sequence[Mapping[str, Any]],
        content: Mapping[str, Any],
        notes: Sequence[str] = (),
    ) -> Report:
        """Return the report of one table of raw values, see ``table_of``."""
        return cls(
            title,
            schema,
            lambda: content,
            lambda: [table_of(rows, title, notes)],
            lambda: frame_of(rows),
        )

    def text(self, form: str, width: int | None = None, encoding: str = "utf-8") -> str:
        """Return a form that is text.

        Args:
            form: One of ``Form``.
            width: Cells of a line of a table; None: as many as it takes.
            encoding: Of where it goes: signs that it lacks are written with those that it has.

        Raises:
            RequestError: a form that is not text.
        """
        texts = {
            "table": lambda: "\n".join(to_text(plain(t, encoding), width) for t in self.tables()),
            "json": lambda: to_json(self.schema, self.content()) + "\n",
            "csv": lambda: self.frame().to_csv(index=False, lineterminator="\n"),
            "md": self._markdown,
            "html": self.page or (lambda: to_html(self.tables(), self.title)),
        }
        if form not in texts:
            raise RequestError(f"{form} is no text: {', '.join(texts)} are")
        return texts[form]()

    def save(self, form: str, path: Path) -> None:
        """Write any form to a file, which is whole or absent."""
        if form == "parquet":
            with atomic_path(path) as temporary:
                self.frame().to_parquet(temporary)
        elif self.figure is not None and form in NEEDS:
            with atomic_path(path) as temporary:
                save_figure(self.figure(), temporary, form)
        else:
            write_text(path, self.text(form))

    def _markdown(self) -> str:
        tables = self.tables()
        return "\n".join(to_markdown(table, 2 if i else 1) for i, table in enumerate(tables))


def save_figure(figure: Figure, path: Path, form: str) -> None:
    """Write a drawing; equal ones are equal files, without a date and with ids of their own."""
    import matplotlib as mpl

    dated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
    drawn = io.BytesIO()  # matplotlib's writer of PDF does not end well on a full disk
    with mpl.rc_context({"svg.hashsalt": "hwsim"}):
        figure.savefig(drawn, format=form, metadata=dated.get(form))
    path.write_bytes(drawn.getvalue())


@dataclass(frozen=True)
class Output:
    """Form and place of a result.

    Attributes:
        form: One of ``FIGURES``, or what else a command offers.
        path: A file; None: standard output.
    """

    form: str
    path: Path | None = None

    @classmethod
    def choose(cls, form: str | None, path: Path | None, offered: Sequence[str] = TABLES) -> Output:
        """Return the form that ``--output`` names, or else the suffix of ``--out``.

        Raises:
            RequestError: the two contradict each other, neither says a form that is offered, the
                form needs what is not installed, or the place cannot be written to.
        """
        if path is None:
            return cls(_offered(form or offered[0], offered))
        suffix = SUFFIXES.get(path.suffix.lower())
        if form is not None and suffix not in {None, form}:
            raise RequestError(f"--output {form} and --out {str(path)!r} name two forms: leave one")
        if form is None and suffix not in offered:
            raise RequestError(f"out {str(path)!r}: the name must end in {suffixes(offered)}")
        chosen = _offered(form or str(suffix), offered)
        _check_installed(chosen, path)
        check_place(path)
        return cls(chosen, path)

    def write(self, report: Report) -> None:
        """Print a result, or write its file."""
        if self.path is not None:
            report.save(self.form, self.path)
        else:
            print(report.text(self.form, room(), sys.stdout.encoding or "utf-8"), end="")

    def write_text(self, text: str) -> None:
        """Print a text that is a result, or write its file."""
        if self.path is not None:
            write_text(self.path, text)
        else:
            print(text, end="")


def frame_of(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Return rows of raw values as a frame; a list is one text with commas."""
    import pandas as pd

    names = list(dict.fromkeys(name for row in rows for name in row))
    flat = [{name: _flat(value) for name, value in row.items()} for row in rows]
    return pd.DataFrame(flat, columns=names)


def stacked(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> pd.DataFrame:
    """Return the rows of several tables as one frame, whose first column says the table."""
    return frame_of([{"table": name, **row} for name, rows in tables.items() for row in rows])


def suffixes(offered: Sequence[str]) -> str:
    """Return the suffixes that choose one of the forms, as a list in words."""
    names = [suffix for suffix, form in SUFFIXES.items() if form in offered and suffix != ".htm"]
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def to_json(schema: str, content: Mapping[str, Any]) -> str:
    """Return the JSON envelope that all commands print: ``schema`` first, SI units, raw numbers.

    JSON has no NaN and no Inf: they are null.
    """
    return json.dumps(_jsonable({"schema": schema, **content}), indent=2, allow_nan=False)


def check_place(path: Path) -> None:
    """Raise a RequestError where no file could be written, before the work for it is done."""
    if path.is_dir():
        raise RequestError(f"out {str(path)!r} is a folder: the name of a file is needed")
    check_writable(path)


def check_writable(path: Path) -> None:
    """Raise a RequestError where neither file nor folder could be made; it is tried out."""
    above = next((p for p in path.absolute().parents if p.exists()), Path("/"))
    if not above.is_dir():
        raise RequestError(f"out {str(path)!r}: {above} is a file, not a folder")
    if len(os.fsencode(path.name)) > LONGEST:
        raise RequestError(f"out {str(path)!r}: names of up to {LONGEST} bytes can be written")
    try:
        if not path.exists() or path.is_file() or path.is_dir():  # a stream is written to itself
            tempfile.TemporaryFile(dir=above).close()
    except OSError:
        raise RequestError(f"out {str(path)!r}: nothing can be written in {above}") from None


def room() -> int | None:
    """Return the cells of a line of standard output; None where it is a file or a pipe.

    The environment's COLUMNS counts for terminals and pipes.
    """
    given = os.environ.get("COLUMNS", "")
    try:
        number = sys.stdout.fileno()
        if stat.S_ISREG(os.fstat(number).st_mode):
            return None
        own = os.get_terminal_size(number).columns or UNKNOWN
    except (OSError, ValueError):  # a pipe, or a stream of another kind
        own = None
    return int(given) if given.isdigit() and int(given) > 0 else own


def plain(table: Table, encoding: str) -> Table:
    """Return a table in signs that an encoding has, so that columns stay straight."""
    from quant.common.signs import encodable

    def one(text: str) -> str:
        return encodable(text, encoding)

    rows = tuple(tuple(map(one, row)) for row in table.rows)
    notes = tuple(map(one, table.notes))
    return Table(tuple(map(one, table.columns)), rows, one(table.title), one(table.above), notes)


def _offered(form: str, offered: Sequence[str]) -> str:
    if form not in offered:
        allowed = ", ".join(offered)
        raise RequestError(f"--output {form}: this command has no such form, only {allowed}")
    return form


def _flat(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else value


def _check_installed(form: str, path: Path) -> None:
    module = NEEDS.get(form)
    if module is not None and is_missing(module):
        raise needed([module], f"out {str(path)!r}")


def _jsonable(value: Any) -> Any:  # noqa: ANN401  whatever JSON may hold
    if isinstance(value, Mapping):
        return {str(key): _jsonable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(part) for part in value]
    if hasattr(value, "item"):  # a number of numpy's
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
