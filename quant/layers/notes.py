"""Notes on matrices that were not treated as asked, gathered for the report of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_NOTES: ContextVar[dict[str, str] | None] = ContextVar("notes", default=None)


def note(path: str, what: str) -> None:
    """Note something about a matrix; where nobody gathers notes, it is lost."""
    notes = _NOTES.get()
    if notes is not None:
        notes[path] = what


def noted(path: str) -> str:
    """Return what is noted about a matrix; empty: nothing."""
    return (_NOTES.get() or {}).get(path, "")


@contextmanager
def gathered() -> Iterator[dict[str, str]]:
    """Gather the notes that are made during a block: path -> what."""
    notes: dict[str, str] = {}
    token = _NOTES.set(notes)
    try:
        yield notes
    finally:
        _NOTES.reset(token)
