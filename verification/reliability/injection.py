"""Faults at file operations: a child of this process is killed, or told that the disk is full.

``faults.c`` is compiled and loaded before the C library; a process started with it can fork any
number of children, in each of which one operation under one folder goes wrong.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("faults.c")
PRELOAD = "LD_PRELOAD"
LIMIT_S = 120
"""Seconds after which a child is ended."""
NO_LOG = -1


@dataclass(frozen=True)
class Fault:
    """What is done to a file operation.

    Attributes:
        name: For reports.
        number: The error that the operation ends with; 0: the process is killed before it.
        lasting: Whether all later operations that need room end with it too.
        only_growing: Whether those that need no room on the disk are spared.
    """

    name: str
    number: int = 0
    lasting: bool = False
    only_growing: bool = False


KILLED = Fault("killed")
NO_SPACE = Fault("ENOSPC", errno.ENOSPC, lasting=True, only_growing=True)
BROKEN = Fault("EIO", errno.EIO)
FAULTS = (KILLED, NO_SPACE, BROKEN)


@dataclass(frozen=True)
class Ending:
    """How a child ended.

    Attributes:
        code: Exit code; below 0: the signal that ended it.
        said: Lines on standard error.
        operations: File operations under the folder, up to the fault.
    """

    code: int
    said: tuple[str, ...]
    operations: tuple[str, ...]

    @property
    def is_killed(self) -> bool:
        """Whether the fault was a kill and it fell."""
        return self.code == -signal.SIGKILL


def can_inject() -> bool:
    """Whether this system can: Linux with a C compiler."""
    return os.uname().sysname == "Linux" and shutil.which("cc") is not None


def scratch() -> tempfile.TemporaryDirectory[str]:
    """Return a folder for many small runs: in memory where the system has that, for speed."""
    memory = "/dev/shm"
    return tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None)


def compile_library(folder: Path) -> Path:
    """Compile ``faults.c`` into a folder and return the library.

    Raises:
        subprocess.CalledProcessError: the compiler refused it.
    """
    library = folder / "libfaults.so"
    line = ["cc", "-O1", "-shared", "-fPIC", "-U_FORTIFY_SOURCE", "-o", str(library), str(SOURCE)]
    subprocess.run([*line, "-ldl"], check=True, timeout=LIMIT_S)
    return library


def environment(library: Path) -> dict[str, str]:
    """Return variables for a process that forks such children: one thread, nothing said.

    numba's ``workqueue`` survives a fork, GNU OpenMP does not.
    """
    single = dict.fromkeys(("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    quiet = dict.fromkeys(("HWSIM_QUIET", "TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS"), "1")
    fixed = {"NUMBA_THREADING_LAYER": "workqueue", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **single, **quiet, **fixed, PRELOAD: str(library)}


def injected(
    work: Callable[[], object],
    folder: Path,
    scratch: Path,
    fault: Fault,
    at: int = 0,
    variables: Mapping[str, str] | None = None,
) -> Ending:
    """Run ``work`` in a child, one of whose file operations under ``folder`` goes wrong.

    Args:
        work: What runs, as a program of ours: its exceptions become a line and an exit code.
        folder: Absolute, without links.
        scratch: A folder elsewhere, for what the child says.
        fault: What happens.
        at: To which operation, from 1; 0: to none.
        variables: Environment of the child, beside this process's.
    """
    said, log = scratch / "said", scratch / "log"
    gc.freeze()
    child = os.fork()
    if not child:
        try:
            _become(said, log, variables or {})
            _arm(folder, fault, at, os.open(log, os.O_WRONLY | os.O_APPEND))
            os._exit(_code(work))
        finally:
            os._exit(70)  # an exception before the work: never back into the parent's code
    _, status = os.waitpid(child, 0)
    lines = tuple(said.read_text(encoding="utf-8", errors="replace").splitlines())
    return Ending(os.waitstatus_to_exitcode(status), lines, tuple(log.read_text().splitlines()))


def _become(said: Path, log: Path, variables: Mapping[str, str]) -> None:
    """Give a child its own streams, environment and limit of time."""
    signal.alarm(LIMIT_S)
    log.write_text("")
    error = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(error, 2)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.environ.update(variables)


def _arm(folder: Path, fault: Fault, at: int, log: int) -> None:
    arm = ctypes.CDLL(None).faults_arm
    arm.argtypes = [ctypes.c_char_p, ctypes.c_long, *[ctypes.c_int] * 4]
    arm(os.fsencode(folder), at, fault.number, fault.lasting, fault.only_growing, log)


def _code(work: Callable[[], object]) -> int:
    from quant.common.boundary import guarded

    try:
        guarded("hwsim", work)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0
