"""Timing: by which closed form an array of some kind of elements counts its clocks."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class Law(IntEnum):
    """Closed forms of the clocks of a job: ``rows`` outputs of ``columns`` tokens.

    ``STREAM``: blocks x steps, one job after the other, as the simulators of ANT (its output
    stationary form) and of BitMoD count; results leave beside the next job.
    ``SYSTOLIC``: (blocks x steps + rows + columns - 2) a job, the output stationary form that is
    exact for SCALE-Sim (versions 2 and 3): operands enter skewed, one job after the other.
    ``TILE``: ``hwsim.tile.layer.total``, the clocks of the Verilog's tile.
    """

    STREAM = 0
    SYSTOLIC = 1
    TILE = 2


class Timing(NamedTuple):
    """What a format takes in an array.

    Attributes:
        law: Which closed form.
        steps: Clocks of a block of weights; a mean where it depends on the data.
        group_clocks: Clocks in which a group's results leave (``TILE``).
        job_clocks: Clocks that a job's end adds (``TILE``).
    """

    law: Law
    steps: float
    group_clocks: int = 0
    job_clocks: int = 0
