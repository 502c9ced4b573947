"""Workloads of neural networks, and the bounds that hardware sets for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roofline.bounds.analysis import Analysis, analyze
from roofline.bounds.serving import Serving, serve
from roofline.calibration.laws import Calibration, load_calibration
from roofline.devices.device import HardwareSpec, hardware_names, load_hardware
from roofline.workloads.models import model_names
from roofline.workloads.workload import Memory, Scenario, Workload, scenario, workload

if TYPE_CHECKING:
    from roofline.bounds.sweep import sweep
    from roofline.validation.validation import validate
    from roofline.workloads.tracing import trace

__all__ = [
    "Analysis",
    "Calibration",
    "HardwareSpec",
    "Memory",
    "Scenario",
    "Serving",
    "Workload",
    "analyze",
    "hardware_names",
    "load_calibration",
    "load_hardware",
    "model_names",
    "scenario",
    "serve",
    "sweep",
    "trace",
    "validate",
    "workload",
]
_LATE = {
    "sweep": "roofline.bounds.sweep",
    "trace": "roofline.workloads.tracing",
    "validate": "roofline.validation.validation",
}
"""Names that need numba or pandas are imported when first used."""


def __getattr__(name: str) -> object:
    if name in _LATE:
        from importlib import import_module

        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module 'roofline' has no attribute {name!r}")
