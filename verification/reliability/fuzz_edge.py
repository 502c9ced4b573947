"""Edge: a place where something from outside is read, with seeds that it takes and a judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random


class WrongAcceptance(Exception):  # noqa: N818  what is found, not what failed
    """A damaged input was read as if it were whole."""


class LoudRefusal(Exception):  # noqa: N818  as above
    """A program that said more than a line, or ended with a code that means nothing."""


@dataclass(frozen=True)
class Target:
    """An edge in a folder of its own.

    Attributes:
        valid: Inputs that are read as what they are.
        made: Returns a damaged or made-up input.
        accepts: Reads an input: True where it was taken. Raises a HwsimError where it is refused,
            ``WrongAcceptance`` where it should have been, ``LoudRefusal`` for a program's noise.
    """

    valid: tuple[bytes, ...]
    made: Callable[[Random], bytes]
    accepts: Callable[[bytes], bool]


@dataclass(frozen=True)
class Edge:
    """A place where something from outside is read.

    Attributes:
        name: In the report, and of its folder in the corpus.
        share: Inputs of ten thousand.
        target: Prepares it in an empty folder.
        suffix: Of its files in the corpus.
    """

    name: str
    share: int
    target: Callable[[Path], Target]
    suffix: str
