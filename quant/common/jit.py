"""numba's decorators with one set of options and with types that mypy can follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., object])


def jit(kernel: Kernel) -> Kernel:
    """Compile a helper that other kernels call; IEEE arithmetic, compiled code cached on disk."""
    return cast(Kernel, numba.njit(cache=True, nogil=True, error_model="numpy")(kernel))


def parallel(kernel: Kernel) -> Kernel:
    """Compile a kernel whose ``prange`` loops run on all of numba's threads."""
    options = {"cache": True, "nogil": True, "error_model": "numpy", "parallel": True}
    return cast(Kernel, numba.njit(**options)(kernel))
