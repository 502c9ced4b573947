"""How a program starts: signals are answered first, then everything else is imported."""

from __future__ import annotations

from quant.common.stops import TYPE_CHECKING, Stopped, Stops

if TYPE_CHECKING:
    from typing import NoReturn


def start(name: str, where: str) -> NoReturn:
    """Run a function as the whole program; the process ends with its exit code.

    Args:
        name: The program's, which begins its messages.
        where: Module and function, such as ``quant.cli:main``; the module is imported only once
            every fault is caught.
    """
    stops = Stops(name)
    stops.install()
    try:
        from quant.common.boundary import run_program
    except Stopped as stop:
        stops.leave(stop.number)
    run_program(name, where, stops)
