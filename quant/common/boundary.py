"""The boundary of a program: every exception becomes one line and an exit code.

0 done, 1 the work failed, 2 the request is wrong, 128 and its number after a signal.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from quant.common import streams
from quant.common.errors import RequestError
from quant.common.stops import Stopped, Stops, message

TRACEBACK = "HWSIM_TRACEBACK"
"""Environment variable: anything but nothing shows where an exception came from."""
OURS = ("quant", "roofline", "hwsim")
DEFECT = (
    "a fault of this program, not of the request: {said} at {place}; please report this line and "
    f"the command as an issue of hwsim ({TRACEBACK}=1 shows the calls)"
)
PACKAGES = Path(__file__).parents[2]
_stops: Stops | None = None


def run_program(name: str, where: str, stops: Stops) -> NoReturn:
    """Run a function as the whole program, see ``quant.common.start``.

    Args:
        name: The program's.
        where: Module and function.
        stops: The handlers of signals; they stay until the process is over.
    """
    global _stops  # noqa: PLW0603  a process has one
    _stops = stops
    module, _, function = where.partition(":")

    def work() -> object:
        from quant.common.cache import place_caches

        atexit.register(stops.ignore)  # the first, which is run last
        stops.watch()
        streams.note()
        _hook(name, stops)
        place_caches()
        return getattr(importlib.import_module(module), function)()

    code = _code(name, work, stops)
    sys.exit(code)


def guarded(name: str, work: Callable[[], object]) -> None:
    """Run ``work`` inside a program, or as one: its exceptions become a line and an exit code.

    Args:
        name: The program's, which begins its messages.
        work: Returns None or an exit code.

    Raises:
        SystemExit: the exit code is not 0.
    """
    if _stops is not None:  # the program's own boundary is around this one, and answers signals
        code = _code(name, work, _stops)
    else:
        stops = Stops(name)
        stops.install()
        try:
            code = _code(name, work, stops)
        finally:
            stops.restore()
    if code:
        sys.exit(code)


def _code(name: str, work: Callable[[], object], stops: Stops) -> int:
    """Run ``work``; return the exit code, everything said and written."""
    try:
        try:
            streams.prepare()
            code = work()
            streams.flush()
        except BaseException as error:
            return _end(name, error, stops)
        if stops.number is not None:  # whoever swallowed it, the user asked to stop
            return _end(name, Stopped(stops.number), stops)
        done = code if isinstance(code, int) else 0
        stops.end(done, told=False)
    except KeyboardInterrupt as error:  # between the lines above
        return _end(name, error, stops)
    return done


def _end(name: str, error: BaseException, stops: Stops) -> int:
    """Say what an exception means; return the exit code."""
    if stops.number is not None and not isinstance(error, SystemExit):
        error = Stopped(stops.number)  # whatever a library made of it
    code, said = outcome(error)
    stops.end(code)
    if isinstance(error, SystemExit):
        try:
            streams.flush()
        except OSError as late:
            code, said = outcome(late)
    elif os.environ.get(TRACEBACK) and not isinstance(error, KeyboardInterrupt):
        streams.say("".join(traceback.format_exception(error)).rstrip())
    if said:
        streams.say(f"{name}: {one_line(said)}")
    streams.drop()
    return code


def outcome(error: BaseException) -> tuple[int, str]:
    """Return exit code and line of an exception; an empty line: nothing is said."""
    if isinstance(error, SystemExit):
        return (1, error.code) if isinstance(error.code, str) else (int(error.code or 0), "")
    if isinstance(error, KeyboardInterrupt):
        number = getattr(error, "number", Stopped().number)
        return 128 + number, message(number)
    if isinstance(error, BrokenPipeError) and streams.is_broken():
        return 1, ""  # who reads has enough (`quant list | head -1`)
    fault = streams.fault() if isinstance(error, OSError) else None
    return (1, fault) if fault is not None else _explained(error)


def _explained(error: BaseException) -> tuple[int, str]:
    from quant.common.foreign import explained

    try:
        known = explained(error)
    except Exception as another:  # the boundary itself must not fail
        return 1, defect(another)
    if known is None:
        return 1, defect(error)
    return 2 if isinstance(known, RequestError) else 1, str(known)


def defect(error: BaseException) -> str:
    """Return the line for a fault of our own: what and where, and where to report it."""
    from quant.common.foreign import told

    return DEFECT.format(said=told(error), place=place(error))


def place(error: BaseException) -> str:
    """Return file and line of the last call inside our packages, such as ``quant/plan.py:12``."""
    last = "an unknown place"
    for frame, line in traceback.walk_tb(error.__traceback__):
        file = Path(frame.f_code.co_filename)
        if file.is_relative_to(PACKAGES):
            inside = file.relative_to(PACKAGES)
            if inside.parts[0] in OURS or last == "an unknown place":
                last = f"{inside.as_posix()}:{line}"
    return last


def one_line(text: object) -> str:
    """Return a text on one line, without signs that a terminal would obey."""
    line = " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _hook(name: str, stops: Stops) -> None:
    """Replace the hooks of Python that print tracebacks outside of the main flow."""
    import threading

    def uncaught(
        _kind: type[BaseException], error: BaseException, _trace: TracebackType | None
    ) -> None:
        streams.say(f"{name}: {one_line(outcome(error)[1])}")

    def in_thread(found: threading.ExceptHookArgs) -> None:
        if found.exc_value is not None and not isinstance(found.exc_value, SystemExit):
            uncaught(found.exc_type, found.exc_value, found.exc_traceback)

    def unraisable(found: Any) -> None:  # noqa: ANN401  sys.UnraisableHookArgs is no runtime name
        if isinstance(found.exc_value, KeyboardInterrupt):
            stops.again()
        elif os.environ.get(TRACEBACK):
            sys.__unraisablehook__(found)

    sys.excepthook, threading.excepthook, sys.unraisablehook = uncaught, in_thread, unraisable
