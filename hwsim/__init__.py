"""A bit-exact, cycle-level simulator of bit-serial accelerators, and co-design with it.

Everything is imported when first used, so that ``import hwsim`` stays light.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, whose import takes longer than all that is done here
if TYPE_CHECKING:
    from typing import Any

    from hwsim import pe as pe
    from hwsim.exploration.axes import log as log
    from hwsim.exploration.axes import pow2 as pow2
    from hwsim.exploration.limits import iso_area as iso_area
    from hwsim.exploration.limits import limit as limit
    from hwsim.exploration.space import DesignSpace as DesignSpace
    from hwsim.exploration.sweep import Sweep as Sweep
    from hwsim.exploration.sweep import explore as explore
    from hwsim.exploration.sweep import sweep as sweep
    from hwsim.loop import codesign as codesign
    from hwsim.machines.accelerator import Accelerator as Accelerator
    from hwsim.machines.load import accelerator_names as accelerator_names
    from hwsim.machines.load import load_accelerator as load_accelerator
    from hwsim.simulation.result import SimulationResult as SimulationResult
    from hwsim.simulation.simulate import simulate as simulate

_HOME = {
    "Accelerator": "machines.accelerator",
    "DesignSpace": "exploration.space",
    "SimulationResult": "simulation.result",
    "Sweep": "exploration.sweep",
    "accelerator_names": "machines.load",
    "codesign": "loop",
    "explore": "exploration.sweep",
    "iso_area": "exploration.limits",
    "limit": "exploration.limits",
    "load_accelerator": "machines.load",
    "log": "exploration.axes",
    "pow2": "exploration.axes",
    "simulate": "simulation.simulate",
    "sweep": "exploration.sweep",
}
_ROOMS = ("pe",)
__all__ = [*_HOME, *_ROOMS]  # noqa: PLE0604  the tables above are the one list of names


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute may be anything
    import importlib

    if name in _ROOMS:
        return importlib.import_module(f"hwsim.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'hwsim' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"hwsim.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
