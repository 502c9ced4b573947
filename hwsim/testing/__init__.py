"""Contract tests for a format, layout, scale kind, op, device, machine, element, method of yours.

Subclass a contract in a test file, name what is to be tested, and let pytest run it::

    from hwsim.testing import FormatContract

    class TestThirds(FormatContract):
        format = quant.user_format("thirds", [-1, -1/3, 1/3, 1])
"""

from __future__ import annotations

from hwsim.testing.formats import FormatContract, LayoutContract, ScaleKindContract
from hwsim.testing.machines import AcceleratorContract, DeviceContract, ElementContract
from hwsim.testing.methods import MethodContract
from hwsim.testing.ops import OpContract

__all__ = [
    "AcceleratorContract",
    "DeviceContract",
    "ElementContract",
    "FormatContract",
    "LayoutContract",
    "MethodContract",
    "OpContract",
    "ScaleKindContract",
]
