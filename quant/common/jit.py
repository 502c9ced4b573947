"""numba's decorators with one set of options and with types that mypy can follow.

Compiled code is kept beside the sources; where that may not be written (a read-only installation,
another user) in the user's cache, and where there is none nowhere: then a line says so, once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba

from quant.common.cache import VARIABLE, cache_dir, has_home, is_writable, say_once
from quant.common.errors import HwsimError

Kernel = TypeVar("Kernel", bound=Callable[..., object])
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
"""IEEE arithmetic, and threads of Python's beside it."""
SOURCES = "_hwsim_sources"
"""Attribute of a compiled kernel: the files that it is made of."""
UNCACHED = (
    "compiled kernels cannot be kept ({reason}), so that each run compiles them anew: set "
    f"NUMBA_CACHE_DIR or {VARIABLE} to a folder that may be written"
)


def jit(kernel: Kernel) -> Kernel:
    """Compile a helper that other kernels call; IEEE arithmetic, compiled code cached on disk."""
    return cached(kernel, OPTIONS)


def parallel(kernel: Kernel) -> Kernel:
    """Compile a kernel whose ``prange`` loops run on all of numba's threads."""
    return cached(kernel, OPTIONS | {"parallel": True})


def cached(kernel: Kernel, options: dict[str, Any]) -> Kernel:
    """Compile a kernel with numba's options; what is compiled is kept if there is a place."""
    if not (has_home() or numba.config.CACHE_DIR):  # numba would make a folder named ~
        return cast(Kernel, _elsewhere(kernel, options, "no home is known"))
    try:
        compiled = numba.njit(cache=True, **options)(kernel)
    except (RuntimeError, OSError) as error:  # numba: "no locator available"
        return cast(Kernel, _elsewhere(kernel, options, str(error)))
    _guard(compiled)
    _stamp(compiled, kernel)
    return cast(Kernel, compiled)


def _elsewhere(kernel: Kernel, options: dict[str, Any], reason: str) -> Any:  # noqa: ANN401  numba has no types
    """A kernel whose compiled code is kept in our cache; uncached if that cannot be written."""
    before = numba.config.CACHE_DIR
    try:
        folder = cache_dir() / "numba"
        if is_writable(folder):
            numba.config.CACHE_DIR = str(folder)
            compiled = numba.njit(cache=True, **options)(kernel)
            _guard(compiled)
            _stamp(compiled, kernel)
            return compiled
        reason = f"nothing can be written in {folder}"
    except (HwsimError, RuntimeError, OSError) as error:
        reason = str(error)
    finally:
        numba.config.CACHE_DIR = before
    say_once(UNCACHED.format(reason=reason))
    return numba.njit(**options)(kernel)


def _guard(compiled: Any) -> None:  # noqa: ANN401  numba has no types
    """Let a cache that fails later (a full disk, a damaged file) cost time, not the result."""
    cache = getattr(compiled, "_cache", None)
    if cache is None:
        return
    for name in ("load_overload", "save_overload"):
        whole = getattr(cache, name, None)
        if whole is not None:
            setattr(cache, name, _tolerant(whole))


def _stamp(compiled: Any, kernel: Callable[..., object]) -> None:  # noqa: ANN401  numba has no types
    """Let what is kept be of the files of all kernels that this one calls, not of its own alone."""
    files = {kernel.__code__.co_filename}
    for name in kernel.__code__.co_names:
        files |= getattr(kernel.__globals__.get(name), SOURCES, frozenset())
    setattr(compiled, SOURCES, frozenset(files))
    kept = getattr(getattr(compiled, "_cache", None), "_cache_file", None)
    if kept is not None and hasattr(kept, "_source_stamp"):
        with suppress(OSError):
            facts = [(name, Path(name).stat()) for name in sorted(files)]
            kept._source_stamp = tuple((name, f.st_mtime_ns, f.st_size) for name, f in facts)


def _tolerant(step: Callable[..., object]) -> Callable[..., object]:
    def tried(*arguments: object) -> object:
        try:
            return step(*arguments)
        except Exception as error:  # a damaged file raises anything
            say_once(UNCACHED.format(reason=f"{type(error).__name__}: {error}"))
            return None

    return tried
