"""Memory that work will take, estimated and compared with what there is before it is allocated."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from quant.common.errors import RequestError

VARIABLE = "HWSIM_MEMORY_LIMIT"
"""Environment variable: the memory that one piece of work may take, such as ``24GiB``; ``none``:
nothing is refused. Without it the limit is what the machine has left."""
SMALL = 64 << 20
"""Bytes below which nobody looks: a process of ours takes as much by itself."""
GIB = 1 << 30
NO_ROOM = "ask for less"
UNITS = {"": 1, "B": 1} | {
    f"{letter}{end}": base**power
    for power, letter in enumerate("KMGT", 1)
    for end, base in (("iB", 1024), ("B", 1000), ("", 1024))
}
"""Unit of a size, to its bytes."""
MEMINFO, PROCESS, GROUPS = Path("/proc/meminfo"), Path("/proc/self"), Path("/sys/fs/cgroup")


def need_memory(size: float, what: str, advice: str = NO_ROOM) -> None:
    """Refuse work whose memory is more than the limit, before any of it is allocated.

    Args:
        size: Bytes, estimated; any size.
        what: What needs them, as in ``"a sweep of 10 points"``.
        advice: What the user can do.

    Raises:
        RequestError: more than ``$HWSIM_MEMORY_LIMIT``, or without it than there is left.
    """
    if size <= SMALL and not os.environ.get(VARIABLE):
        return
    limit, whose = stated_limit(), f"{VARIABLE} allows"
    if limit is None:
        limit, whose = available_memory(), "there are"
    if size > limit:
        raise RequestError(
            f"{what} needs about {_gib(size)} GiB of memory, and {whose} {_gib(limit)}: {advice} "
            f"({VARIABLE} changes the limit)"
        )


def need_count(count: float, most: int, what: str, advice: str = NO_ROOM) -> None:
    """Refuse work of more steps than any run is made for.

    Args:
        count: Steps; any size.
        most: The stated limit.
        what: What the steps are, as in ``"points of a sweep"``.
        advice: What the user can do.

    Raises:
        RequestError: more steps than that.
    """
    if count > most:
        number = f"{count:,}" if count < 10**15 else f"{float(min(count, 10**300)):.0e}"
        raise RequestError(f"{number} {what}: at most {most:,} are allowed; {advice}")


def stated_limit() -> float | None:
    """Return ``$HWSIM_MEMORY_LIMIT`` in bytes; None: it is not set.

    Raises:
        RequestError: it is no size.
    """
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if text.lower() == "none":
        return math.inf
    found = re.fullmatch(r"(\d+(?:\.\d*)?)\s*([A-Za-z]*)", text)
    units = {unit.lower(): size for unit, size in UNITS.items()}
    if found is None or found[2].lower() not in units:
        raise RequestError(f"{VARIABLE} {text!r}: a size such as 24GiB is needed, or none")
    size: float = float(found[1]) * units[found[2].lower()]
    return size


def available_memory() -> float:
    """Return the bytes that this process may still take; inf: the system does not say.

    The least of what the machine has left, what the control groups of this process (containers)
    have left, and what its own limits (``ulimit -v``) leave.
    """
    return min((_machine(), *_groups(), *_own_limits()))


def _gib(size: float) -> str:
    size /= GIB
    return f"{size:.1f}" if size < 1e6 else f"{size:.0e}"


def _machine() -> float:
    for line in _read(MEMINFO).splitlines():
        if line.startswith("MemAvailable:"):
            return float(line.split()[1]) * 1024
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return math.inf


def _groups() -> Iterator[float]:
    """What each control group of this process has left: its own, and those above it."""
    for line in _read(PROCESS / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers not in {"", "memory"}:
            continue
        top = GROUPS / controllers
        names = (
            ("memory.max", "memory.current", "inactive_file")
            if not controllers
            else ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        )
        inside = Path(path.lstrip("/"))
        for folder in (inside, *inside.parents):
            # Within a container the path may be the host's: only the top is then to be seen.
            yield _left(top / folder, *names)


def _left(folder: Path, most: str, used: str, idle: str) -> float:
    limit, taken = _read(folder / most).strip(), _read(folder / used).strip()
    if not limit.isdigit() or not taken.isdigit():
        return math.inf
    cached = [
        float(line.split()[1])
        for line in _read(folder / "memory.stat").splitlines()
        if line.startswith(f"{idle} ")
    ]
    return max(0.0, float(limit) - float(taken) + sum(cached))  # pages of files give way


def _own_limits() -> Iterator[float]:
    try:
        import resource
    except ImportError:  # not on Windows
        return
    sizes = dict(
        line.split(":", 1) for line in _read(PROCESS / "status").splitlines() if ":" in line
    )
    for which, field in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        limit = resource.getrlimit(which)[0]
        if limit != resource.RLIM_INFINITY:
            yield max(0.0, limit - float(sizes.get(field, "0").split()[0]) * 1024)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
