"""The exceptions a user can meet, and the one-line messages they carry."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

NEAR = 0.5
"""Similarity, from 0 to 1, above which a name is proposed."""


class HwsimError(Exception):
    """The work failed (exit code 1): a download, a full disk, a simulation that went wrong."""


class RequestError(HwsimError, ValueError):
    """The request is wrong (exit code 2): the message says what, and what is allowed."""


class ArgumentTypeError(RequestError, TypeError):
    """An argument has a wrong type: the message says which, and what is allowed."""


def unknown_name(
    kind: str, name: str, known: Iterable[str], aliases: Iterable[str] = ()
) -> RequestError:
    """Return the error for a name that is not among the known ones, with the nearest first.

    Args:
        kind: What the name should have been, such as ``"format"``.
        name: The name as given.
        known: All the names that would do.
        aliases: Others that would do, and are proposed only when they are near.
    """
    names = sorted(known)
    wanted = name.lower()
    ratio = difflib.SequenceMatcher(None, "", wanted)
    scores = []
    for candidate in {*names, *aliases}:
        ratio.set_seq1(candidate.lower())
        score = ratio.ratio() + candidate.lower().startswith(wanted)
        if score > NEAR:
            scores.append((score, candidate))
    nearest = [candidate for _, candidate in sorted(scores, reverse=True)[:3]]
    hint = f"nearest: {', '.join(nearest)}; " if nearest and wanted else ""
    return RequestError(f"unknown {kind} {name!r} ({hint}known: {', '.join(names)})")
