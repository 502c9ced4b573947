"""Workloads of language models, and the bounds that hardware sets for them."""

from __future__ import annotations

from roofline.analysis import Analysis, analyze
from roofline.hardware import HardwareSpec, hardware_names, load_hardware
from roofline.models import model_names
from roofline.workload import Memory, Scenario, Workload, scenario, workload

__all__ = [
    "Analysis",
    "HardwareSpec",
    "Memory",
    "Scenario",
    "Workload",
    "analyze",
    "hardware_names",
    "load_hardware",
    "model_names",
    "scenario",
    "workload",
]
