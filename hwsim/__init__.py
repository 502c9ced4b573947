"""A bit-exact, cycle-level simulator of bit-serial accelerators, and co-design with it."""

from __future__ import annotations

from hwsim import pe
from hwsim.exploration.explore import explore
from hwsim.exploration.space import DesignSpace
from hwsim.loop import codesign
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import accelerator_names, load_accelerator
from hwsim.simulation.result import SimulationResult
from hwsim.simulation.simulate import simulate

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
