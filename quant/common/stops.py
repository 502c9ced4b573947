"""Ctrl-C, SIGTERM and SIGHUP: work is left as by an exception, so that clean-up runs, and once.

It imports little, since a signal that comes before it is loaded finds Python's own handlers.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False  # as typing's, whose import takes as long as all of these together
if TYPE_CHECKING:
    from types import FrameType
    from typing import Any, NoReturn

INTERRUPTED = "interrupted; finished parts are kept"
SAME = 1.0
"""Seconds in which a second signal is the first one again: `timeout` and shells send two."""
GRACE = 5.0
"""Seconds that code which is not Python's may go on before the process is ended around it."""
SWALLOWED = 0.05
"""Seconds after which an interruption is raised again that a destructor had swallowed."""
NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stopped(KeyboardInterrupt):
    """A signal asks to end: what waits for Ctrl-C takes it for one.

    Attributes:
        number: Of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(number)
        self.number = number


def message(number: int) -> str:
    """Return what is said of an end by a signal."""
    kind = "" if number == signal.SIGINT else f" by {signal.Signals(number).name}"
    return INTERRUPTED.replace("interrupted", f"interrupted{kind}", 1)


class Stops:
    """The handlers of the signals that ask to end.

    Attributes:
        name: Of the command, for the message.
        number: The signal that came; None: none did.
        code: Exit code once the end has begun, after which a signal ends at once; None: before it.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.number: int | None = None
        self.code: int | None = None
        self._told = False
        self._time = -SAME
        self._handled = 0
        self._before: dict[int, Any] = {}

    def install(self) -> None:
        """Take over the signals that are not ignored (`nohup`) and not somebody else's."""
        usual = (signal.SIG_DFL, signal.default_int_handler)
        for name in NAMES:
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) not in usual:
                continue
            try:
                self._before[number] = signal.signal(number, self._handle)
            except ValueError:  # not in the main thread, which alone may
                return

    def restore(self) -> None:
        """Give the signals back to whom they belonged."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def watch(self) -> None:
        """End the process where code that is not Python's does not come back from a signal."""
        import threading

        if not self._before:
            return
        read, write = os.pipe()
        os.set_blocking(write, False)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        os.register_at_fork(after_in_child=self._forked)
        threading.Thread(target=self._watch, args=(read,), daemon=True, name="signals").start()

    def ignore(self) -> None:
        """Let nothing disturb the interpreter's own end: Python gives the signals up in it."""
        for number in self._before:
            signal.signal(number, signal.SIG_IGN)

    def end(self, code: int, *, told: bool = True) -> None:
        """Say that the end has begun: another signal only hastens it."""
        self._told = told
        self.code = code

    def leave(self, number: int) -> NoReturn:
        """End the process at once, with the message if nothing was said yet."""
        if not self._told:
            try:
                os.write(2, f"{self.name}: {message(number)}\n".encode())
            except OSError:
                os._exit(128 + number)
        os._exit(self.code or 128 + number)

    def again(self) -> None:
        """Raise an interruption once more that was swallowed where nothing can be raised."""
        import threading

        number, main = self.number, threading.main_thread().ident
        if number is None or main is None:
            return

        def soon() -> None:
            time.sleep(SWALLOWED)
            if self.code is None:
                self._time = -SAME
                # To this thread alone, since it may wait for something outside of Python.
                signal.pthread_kill(main, number)

        threading.Thread(target=soon, daemon=True, name="again").start()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self._handled += 1
        if self.code is not None:
            self.leave(number)
        now = time.monotonic()
        if now - self._time < SAME:
            return
        self._time, self.number = now, number
        _end_children()
        raise Stopped(number)

    def _watch(self, read: int) -> None:
        while True:
            number = os.read(read, 1)[0]
            if number not in self._before:
                continue
            handled, until = self._handled, time.monotonic() + GRACE
            while self._handled == handled and time.monotonic() < until:
                time.sleep(0.02)
            if self._handled == handled and self.code is None:
                self.leave(number)

    def _forked(self) -> None:
        """In a worker process: Ctrl-C is the parent's to answer, which then ends its workers."""
        signal.set_wakeup_fd(-1)
        for number in self._before:
            signal.signal(number, signal.SIG_IGN if number == signal.SIGINT else signal.SIG_DFL)


def _end_children() -> None:
    """Ask the processes that this one started to end, where the system lists them.

    Nothing is imported: the signal may have come in the middle of an import.
    """
    tasks = "/proc/self/task"
    try:
        for thread in os.listdir(tasks):  # noqa: PTH208  pathlib may be half imported
            with open(f"{tasks}/{thread}/children", encoding="ascii") as file:  # noqa: PTH123  too
                children = file.read().split()
            for child in children:
                os.kill(int(child), signal.SIGTERM)
    except OSError:
        return
