"""The public surface by introspection: what is in every ``__all__``, and its parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any

import hwsim
import hwsim.pe
import quant
import roofline

PACKAGES = {"quant": quant, "roofline": roofline, "hwsim": hwsim, "hwsim.pe": hwsim.pe}

INSIDE = {
    *(f"roofline.Calibration.{name}" for name in ("kernel", "launch", "times", "errors", "laws")),
    "hwsim.pe.TermTable.value",
}
"""Methods that take what another part of ours makes (ops, templates, arrays of codes)."""


def public() -> dict[str, Any]:
    """Return all public names that can be called, functions and classes."""
    return {
        f"{package}.{name}": getattr(module, name)
        for package, module in PACKAGES.items()
        for name in module.__all__
        if callable(getattr(module, name))
    }


def methods() -> dict[str, Callable[..., Any]]:
    """Return the public methods with arguments of the public classes."""
    return {
        f"{name}.{own}": getattr(cls, own)
        for name, cls in public().items()
        if inspect.isclass(cls) and not issubclass(cls, _module())
        for own, entry in vars(cls).items()
        if not own.startswith("_") and f"{name}.{own}" not in INSIDE and _takes_arguments(entry)
    }


def _takes_arguments(entry: object) -> bool:
    function = entry.__func__ if isinstance(entry, classmethod) else entry
    return inspect.isfunction(function) and len(inspect.signature(function).parameters) > 1


def parameters(function: Callable[..., Any]) -> Iterator[str]:
    """Yield the parameters of a callable by name; ``**options`` are those of ``workload``."""
    target = function.__init__ if is_dataclass(function) else function
    for name, parameter in inspect.signature(target).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            yield from (n for n in _options() if n not in inspect.signature(target).parameters)
        elif name != "self":
            yield name


def _options() -> list[str]:
    from roofline.workloads.setting import WorkloadOptions

    return list(WorkloadOptions.__annotations__)


def _module() -> type:
    from torch import nn

    return nn.Module
