"""Small programs that the tests of signals start, each by its name, and how they are started."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from quant.common import stops

ROOT = Path(__file__).parents[2]


def started(program: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
    """Start one of the functions below as a program that is called ``probe``."""
    code = f"from quant.common.start import start; start('probe', 'tests.edges.programs:{program}')"
    line = [sys.executable, "-c", code, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.Popen(line, text=True, cwd=ROOT, **pipes)  # type: ignore[call-overload, no-any-return]  # options


def await_line(process: subprocess.Popen[str]) -> str:
    """Wait for the line by which a program says how far it is."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def ready(what: object = "ready") -> None:
    print(what, flush=True)


def loop() -> None:
    """Work with a temporary folder, which is gone at the end whatever comes."""
    with tempfile.TemporaryDirectory(dir=sys.argv[1]):
        ready()
        time.sleep(60)


def slow_cleanup() -> None:
    """Clean up for longer than a user may wait."""
    try:
        ready()
        time.sleep(60)
    finally:
        ready("cleaning")
        time.sleep(0.5)
        Path(sys.argv[1], "cleaned").touch()


def swallowed() -> None:
    """Be interrupted where Python drops what is raised."""

    class Dropped:
        def __del__(self) -> None:
            ready()
            time.sleep(60)

    Dropped()
    time.sleep(60)


def native() -> None:
    """Run code that does not come back to Python for long; the lock is free meanwhile."""
    import ctypes

    stops.GRACE = 0.2
    lock = ctypes.CDLL(None).pthread_mutex_lock
    mutex = ctypes.create_string_buffer(64)
    lock(mutex)
    ready()
    lock(mutex)  # for ever: signals do not end it


def written() -> None:
    """Write more than a pipe holds, to a reader who does not read."""
    ready()
    print("x" * (1 << 22))


def parent() -> None:
    """Wait for another program in a thread, as the synthesis does."""
    from concurrent.futures import ThreadPoolExecutor

    def child() -> int:
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
            ready(process.pid)
            return process.wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(child).result()


def forked() -> None:
    """Wait for a worker process that is a copy of this one."""
    child = os.fork()
    if child == 0:
        ready(os.getpid())
        time.sleep(60)
        os._exit(0)
    os.waitpid(child, 0)


def thread_fault() -> None:
    """Let a thread fail."""
    thread = threading.Thread(target=lambda: dict[str, int]()["absent"])
    thread.start()
    thread.join()


def fault() -> None:
    """Have a fault of our own."""
    from quant.formats.spec import parse_spec

    parse_spec("int4").store({})  # type: ignore[attr-defined]  # there is no such thing


def long_line() -> None:
    """Be asked for what is wrong, in a text that would move a terminal's cursor."""
    from quant.common.errors import RequestError

    raise RequestError("wrong\n\x1b[2J\u202e end")
