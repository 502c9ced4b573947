"""The exceptions a user can meet, and the one-line messages they carry."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class HwsimError(Exception):
    """The work failed (exit code 1): a download, a full disk, a simulation that went wrong."""


class RequestError(HwsimError, ValueError):
    """The request is wrong (exit code 2): the message says what, and what is allowed."""


def unknown_name(kind: str, name: str, known: Iterable[str]) -> RequestError:
    """Return the error for a name that is not among the known ones, with the nearest first.

    Args:
        kind: What the name should have been, such as ``"format"``.
        name: The name as given.
        known: All the names that would do.
    """
    names = sorted(known)
    nearest = difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)
    hint = f"nearest: {', '.join(nearest)}; " if nearest else ""
    return RequestError(f"unknown {kind} {name!r} ({hint}known: {', '.join(names)})")
