"""Tables: no digit and no name is lost at any width; signs that an encoding lacks are replaced."""

from __future__ import annotations

import codecs
import io
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant.common.signs import HANDLER, encodable
from quant.common.tables import (
    LEAST,
    Table,
    fold,
    number,
    table_of,
    text_of,
    to_html,
    to_markdown,
    to_text,
)

WORDS = st.text(alphabet="abcXYZ019._-:/ µ", max_size=30).map(lambda text: " ".join(text.split()))
NUMBERS = st.one_of(
    st.integers(-(10**12), 10**12).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(text_of),
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Tables of up to six columns, each of text or of numbers."""
    kinds = draw(st.lists(st.sampled_from([WORDS, NUMBERS]), min_size=1, max_size=6))
    names = tuple(f"column_{i}_{'x' * draw(st.integers(0, 12))}" for i in range(len(kinds)))
    rows = draw(st.lists(st.tuples(*kinds), min_size=1, max_size=4))
    return Table(names, tuple(rows), draw(WORDS), notes=tuple(draw(st.lists(WORDS, max_size=2))))


def signs(*texts: str) -> Counter[str]:
    return Counter("".join("".join(texts).split()))


@given(tables(), st.integers(LEAST, 120))
def test_nothing_is_lost_at_any_width(table: Table, width: int) -> None:
    text = to_text(table, width)
    assert all(len(line) <= width for line in text.splitlines())
    cells = [cell for row in table.rows for cell in row]
    needed = signs(*table.columns, *cells, table.title, *table.notes)
    found = signs(text)
    assert all(found[sign] >= count for sign, count in needed.items())
    # A number is never broken, unless the line is narrower than it is.
    for i, numeric in enumerate(table.numbers):
        for row in table.rows if numeric else ():
            assert row[i] in text or len(row[i]) + len(table.columns[i]) + 2 > width


@given(tables())
def test_without_a_width_every_row_is_a_line(table: Table) -> None:
    lines = to_text(table).splitlines()
    head = lines.index(next(line for line in lines if set(line) == {"─"}))
    for row, line in zip(table.rows, lines[head + 1 :], strict=False):
        assert all(cell in line for cell in row)


@given(st.text(alphabet="ab._ -:/", max_size=60), st.integers(1, 20))
def test_folding_keeps_every_sign(text: str, width: int) -> None:
    lines = fold(text, width)
    assert signs(*lines) == signs(text)
    assert all(len(line) <= width for line in lines)


def test_lines_are_broken_after_marks() -> None:
    assert fold("model.layers.*.self_attn.q_proj", 20) == ["model.layers.*.", "self_attn.q_proj"]
    assert fold("kv_a_proj_with_mqa", 10) == ["kv_a_proj_", "with_mqa"]
    assert fold("abcdefgh", 3) == ["abc", "def", "gh"]


def test_numbers_are_set_right_and_text_left() -> None:
    table = table_of([{"name": "a", "n": 7, "x": None}, {"name": "bcd", "n": 1234.5, "y": True}])
    assert to_text(table) == (
        "name     n  x  y\n"
        "──────────────────\n"
        "a        7\n"
        "bcd   1234     yes\n"
    )  # fmt: skip


def test_rows_become_blocks_where_columns_cannot_stand_side_by_side() -> None:
    table = table_of([{"first": 123456789, "second": 987654321, "third": 123123123}], "title")
    assert to_text(table, 30) == (
        "title\n"
        "first   123456789\n"
        "second  987654321\n"
        "third   123123123\n"
        "\n"
    )  # fmt: skip


def test_constants_are_said_once() -> None:
    rows = [{"model": "m", "n": 1}, {"model": "m", "n": 2}]
    table = table_of(rows, constants=True)
    assert (table.columns, table.notes) == (("n",), ("model m",))
    assert table_of(rows[:1], constants=True).columns == ("model", "n")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456, "0.1235"), (1234.5, "1234"), (13476831232.0, "13476831232"), (2e-9, "2e-09"),
        (1e20, "1e+20"), (float("inf"), "inf"), (True, "yes"), (["a", 1], "a, 1"), (None, ""),
    ],
)  # fmt: skip
def test_values_as_cells(value: object, text: str) -> None:
    assert text_of(value) == text


def test_digits_before_the_point_are_all_there() -> None:
    assert (number(3694.2, 3), number(2.345, 3), number(0.00012345, 3)) == (
        "3694",
        "2.35",
        "0.000123",
    )


def test_a_row_has_a_cell_for_each_column() -> None:
    with pytest.raises(ValueError, match="one cell for each"):
        Table(("a", "b"), (("1",),))


def test_markdown_and_html_escape_what_is_theirs() -> None:
    table = Table(("a|b",), (("<*_`",),), "x & y", "·|·", ("[note]",))
    assert to_markdown(table) == (
        "# x &amp; y\n\n```\n·|·\n```\n\n| a\\|b |\n|---|\n| &lt;\\*\\_\\` |\n\n- \\[note\\]\n"
    )
    page = to_html([table], "x & y")
    assert "<td>&lt;*_`</td>" in page
    assert page.count("x &amp; y") == 2  # title and heading
    assert "<pre>·|·</pre>" in page


def test_signs_are_written_with_those_that_are_there() -> None:
    assert encodable("1 µs ± 2 × 3 · ─│┼", "ascii") == "1 us +- 2 x 3 . -|+"
    assert encodable("1 µs ± ─", "latin-1") == "1 µs ± -"
    assert encodable("ключ", "ascii") == "????"
    assert encodable("ключ", "utf-8") == "ключ"


def test_bytes_that_are_no_text_pass() -> None:
    stream = io.BytesIO()
    writer = io.TextIOWrapper(stream, encoding="utf-8", errors=HANDLER)
    writer.write(b"na\xffme \xc2\xb7".decode("utf-8", "surrogateescape"))
    writer.flush()
    assert stream.getvalue() == b"na\xffme \xc2\xb7"
    with pytest.raises(UnicodeDecodeError):
        codecs.lookup_error(HANDLER)(UnicodeDecodeError("ascii", b"\xff", 0, 1, "no"))
