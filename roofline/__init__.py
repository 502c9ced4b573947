"""Workloads of neural networks, and the bounds that hardware sets for them.

Names are imported when first used, so that ``import roofline`` stays light.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as typing's, whose import takes longer than all that is done here
if TYPE_CHECKING:
    from typing import Any

    from roofline.bounds.analysis import Analysis as Analysis
    from roofline.bounds.analysis import analyze as analyze
    from roofline.bounds.serving import Serving as Serving
    from roofline.bounds.serving import serve as serve
    from roofline.bounds.sweep import sweep as sweep
    from roofline.calibration.laws import Calibration as Calibration
    from roofline.calibration.laws import load_calibration as load_calibration
    from roofline.devices.device import HardwareSpec as HardwareSpec
    from roofline.devices.device import hardware_names as hardware_names
    from roofline.devices.device import load_hardware as load_hardware
    from roofline.validation.validation import validate as validate
    from roofline.workloads.models import model_names as model_names
    from roofline.workloads.tracing import trace as trace
    from roofline.workloads.workload import Memory as Memory
    from roofline.workloads.workload import Scenario as Scenario
    from roofline.workloads.workload import Workload as Workload
    from roofline.workloads.workload import scenario as scenario
    from roofline.workloads.workload import workload as workload

_HOME = {
    "Analysis": "bounds.analysis",
    "Calibration": "calibration.laws",
    "HardwareSpec": "devices.device",
    "Memory": "workloads.workload",
    "Scenario": "workloads.workload",
    "Serving": "bounds.serving",
    "Workload": "workloads.workload",
    "analyze": "bounds.analysis",
    "hardware_names": "devices.device",
    "load_calibration": "calibration.laws",
    "load_hardware": "devices.device",
    "model_names": "workloads.models",
    "scenario": "workloads.workload",
    "serve": "bounds.serving",
    "sweep": "bounds.sweep",
    "trace": "workloads.tracing",
    "validate": "validation.validation",
    "workload": "workloads.workload",
}
__all__ = [*_HOME]  # noqa: PLE0604  the table above is the one list of names


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute may be anything
    import importlib

    if name not in _HOME:
        raise AttributeError(f"module 'roofline' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"roofline.{_HOME[name]}"), name)
    globals()[name] = value
    return value
