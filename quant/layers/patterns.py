"""Patterns that mean matrices: wildcards, regular expressions, classes of modules."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TypeVar

from quant.common.errors import RequestError, unknown_name

EVERY = "*"
T = TypeVar("T")


def matches(path: str, pattern: str, kind: str = "") -> bool:
    """Whether a pattern means a path.

    Args:
        path: Of a matrix.
        pattern: With ``*`` (dots too) and ``?``; ``re:...`` is a regular expression for the whole
            path; ``type:Conv2d`` means modules of a class. Brackets stand for themselves, since
            experts are counted in them.
        kind: Class of its module.

    Raises:
        RequestError: no regular expression.
    """
    if pattern.startswith("type:"):
        return kind == pattern.removeprefix("type:")
    if pattern.startswith("re:"):
        try:
            return re.fullmatch(pattern.removeprefix("re:"), path) is not None
        except re.error as error:
            raise RequestError(f"pattern {pattern!r}: {error}") from None
    return fnmatchcase(path, pattern.replace("[", "[[]"))


def matched(
    pattern: str, paths: Iterable[str], kinds: Mapping[str, str] | None = None
) -> list[str]:
    """Return the paths that a pattern means.

    Raises:
        RequestError: it means none; the message names the nearest.
    """
    known = list(paths)
    found = [path for path in known if matches(path, pattern, (kinds or {}).get(path, ""))]
    if not found:
        raise unknown_name("layer", pattern, _short(known))
    return found


def chosen_by(
    patterns: Mapping[str, T],
    paths: Iterable[str],
    apart: Collection[str] = (),
    kinds: Mapping[str, str] | None = None,
) -> dict[str, T]:
    """Return what each path gets of things by pattern.

    An exact path wins over patterns, a later pattern over an earlier one.

    Args:
        patterns: Pattern -> thing.
        paths: All that may get one.
        apart: Those that ``"*"`` does not mean.
        kinds: Class of the module of each path.

    Raises:
        RequestError: a pattern that means no path.
    """
    known = list(paths)
    every = frozenset(known)
    chosen: dict[str, T] = {}
    for pattern, thing in patterns.items():
        if pattern in every:
            continue  # an exact path, which comes last; thousands of experts may be named so
        for path in matched(pattern, known, kinds):
            if not (pattern == EVERY and path in apart):
                chosen[path] = thing
    chosen.update({path: thing for path, thing in patterns.items() if path in every})
    return {path: chosen[path] for path in known if path in chosen}


def _short(paths: list[str]) -> list[str]:
    """Paths with their layer numbers left out, so that a message stays readable."""
    short = {re.sub(r"\[\d+\]", "[*]", re.sub(r"\.\d+\.", ".*.", path)) for path in paths}
    return sorted(short)
