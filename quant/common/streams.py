"""Standard output and error that are closed, broken or full: one line at most, and no noise."""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

from quant.common.signs import degrade_stdout

CLOSED = "standard output is closed: open it, or write to a file with -o"
FULL = "standard output: {reason}; free some room, or write to another place"


class _Closed(io.TextIOBase):
    """Standard output of a process that was started without one: to write is an error."""

    asked = False

    def write(self, _text: str, /) -> int:
        self.asked = True
        raise OSError(errno.EBADF, CLOSED)


class _Noting(io.TextIOWrapper):
    """Standard output that remembers its own failure, since the error names no file."""

    failure: OSError | None = None

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self.failure = error
            raise


def note() -> None:
    """Let the program's standard output remember its failure, for ``fault``."""
    old = sys.stdout
    if type(old) is io.TextIOWrapper:
        ways: dict[str, Any] = {
            "encoding": old.encoding, "errors": old.errors, "line_buffering": old.line_buffering,
            "write_through": old.write_through,
        }  # fmt: skip
        sys.stdout = sys.__stdout__ = _Noting(old.detach(), **ways)  # type: ignore[misc]


def prepare() -> None:
    """Let nothing that is opened later take the place of a standard stream that is closed."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
    if sys.stdout is None:
        sys.stdout = _Closed()
    if sys.stderr is None:
        # A print to no stream would go to standard output.
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
    degrade_stdout()


def flush() -> None:
    """Write out what is left.

    Raises:
        OSError: standard output takes no more.
    """
    sys.stdout.flush()
    with suppress(OSError, ValueError):
        sys.stderr.flush()


def say(line: str) -> None:
    """Write a line on standard error, if it takes one."""
    try:
        print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError):
        _silence(sys.stderr, 2)


def is_broken() -> bool:
    """Whether nobody reads standard output or standard error any more."""
    if any(isinstance(_flushed(stream), BrokenPipeError) for stream in (sys.stdout, sys.stderr)):
        return True
    if not hasattr(select, "poll"):
        return True  # on Windows nothing else breaks here
    poll = select.poll()
    for number in (1, 2):
        poll.register(number, 0)  # an error is told unasked
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def fault() -> str | None:
    """Return why standard output takes nothing; None: it does."""
    if isinstance(sys.stdout, _Closed):
        return CLOSED if sys.stdout.asked else None
    error = _flushed(sys.stdout) or getattr(sys.stdout, "failure", None)
    return FULL.format(reason=error.strerror) if error is not None else None


def drop() -> None:
    """Give up what a standard stream did not take, so that Python's own end says nothing of it."""
    for stream, number in ((sys.stdout, 1), (sys.stderr, 2)):
        if _flushed(stream) is not None:
            _silence(stream, number)


def _flushed(stream: TextIO) -> OSError | None:
    try:
        stream.flush()
    except OSError as error:
        return error
    except ValueError:  # closed by somebody
        return None
    return None


def _silence(stream: TextIO, number: int) -> None:
    with suppress(OSError, ValueError):
        if stream.fileno() == number:
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, number)
            os.close(nothing)
            stream.flush()
