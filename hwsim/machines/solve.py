"""Machines of one area or one power: the number of tiles, solved for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from hwsim.machines.accelerator import Accelerator
from hwsim.machines.area import area_um2
from hwsim.machines.checks import MOST
from quant.common import arguments
from quant.common.errors import RequestError


def with_tiles(machine: Accelerator, count: int) -> Accelerator:
    """Return a machine with another number of tiles."""
    return replace(machine, tiles=replace(machine.tiles, count=count))


def at_area(
    machine: Accelerator, area: float, part: str = "total", within: float = 0.05
) -> Accelerator:
    """Return a machine with as many tiles as come nearest to an area.

    Args:
        machine: The design.
        area: um2.
        part: What of it: ``total``, or ``array``.
        within: How far from it the result may be, relative.

    Raises:
        RequestError: no number of tiles comes so near: the buffers alone are larger, or a tile is
            too large a step.
    """
    area = arguments.number("area", area, above=0)
    part = arguments.choice("part", part, ("array", "total"))
    return _nearest(machine, lambda one: area_um2(one)[part], area, within, "um2")


def at_power(
    machine: Accelerator, power: Callable[[Accelerator], float], watts: float, within: float = 0.05
) -> Accelerator:
    """Return a machine with as many tiles as come nearest to a power.

    Args:
        machine: The design.
        power: Watts of a machine, such as ``lambda m: hwsim.simulate(work, m).power_w``.
        watts: Wanted.
        within: How far from it the result may be, relative.

    Raises:
        RequestError: no number of tiles comes so near.
    """
    return _nearest(machine, power, arguments.number("watts", watts, above=0), within, "W")


def _nearest(
    machine: Accelerator,
    measure: Callable[[Accelerator], float],
    wanted: float,
    within: float,
    unit: str,
) -> Accelerator:
    """The number of tiles whose measure, which grows with them, is nearest."""
    low, high = 1, 2
    while measure(with_tiles(machine, high)) < wanted and high < MOST["tiles.count"]:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        below = measure(with_tiles(machine, middle)) < wanted
        low, high = (middle, high) if below else (low, middle)
    found = min((low, high), key=lambda count: abs(measure(with_tiles(machine, count)) - wanted))
    best = with_tiles(machine, found)
    reached = measure(best)
    if abs(reached / wanted - 1) > within:
        raise RequestError(
            f"{machine.name}: {found} tiles give {reached:.4g} {unit}, {wanted:.4g} within "
            f"{within:.3g} is wanted: no number of tiles comes nearer"
        )
    return best
