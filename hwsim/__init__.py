"""A bit-exact, cycle-level simulator of bit-serial accelerators, and co-design with it."""

from __future__ import annotations

from hwsim import pe
from hwsim.accelerator import Accelerator, accelerator_names, load_accelerator
from hwsim.codesign import codesign
from hwsim.explore import DesignSpace, explore
from hwsim.simulate import SimulationResult, simulate

__all__ = [
    "Accelerator",
    "DesignSpace",
    "SimulationResult",
    "accelerator_names",
    "codesign",
    "explore",
    "load_accelerator",
    "pe",
    "simulate",
]
