"""Kinds of processing elements: one file a kind, named by machine files (``kind = "..."``)."""

from __future__ import annotations

from hwsim.machines.elements.activation_serial import ActivationSerial
from hwsim.machines.elements.base import (
    Element,
    ProcessingElement,
    element_kind,
    element_kinds,
    register,
)
from hwsim.machines.elements.bit_column import BitColumn
from hwsim.machines.elements.bit_serial import BitSerial
from hwsim.machines.elements.multiply_accumulate import MultiplyAccumulate
from hwsim.machines.elements.timing import Law, Timing

__all__ = [
    "ActivationSerial",
    "BitColumn",
    "BitSerial",
    "Element",
    "Law",
    "MultiplyAccumulate",
    "ProcessingElement",
    "Timing",
    "element_kind",
    "element_kinds",
    "register",
]
