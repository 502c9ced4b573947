"""The contracts that ``hwsim.testing`` has for own parts; run by ``tests/test_own_parts.py``."""

from __future__ import annotations

from pathlib import Path

from hwsim.machines.load import load_accelerator
from hwsim.testing import (
    AcceleratorContract,
    DeviceContract,
    ElementContract,
    FormatContract,
    LayoutContract,
    MethodContract,
    OpContract,
    ScaleKindContract,
)
from quant.formats.spec import parse_spec
from tests.own import own_element
from tests.own.own_format import LADDER
from tests.own.own_layout import CENTRED
from tests.own.own_method import TIGHT
from tests.own.own_op import Adapter
from tests.own.own_scale import E5M3

HERE = Path(__file__).parent
assert own_element  # machine files find it by its name


class TestFormat(FormatContract):
    """The own format."""

    format = LADDER


class TestLayout(LayoutContract):
    """The own layout, by the format that has it."""

    format = CENTRED


class TestScaleKind(ScaleKindContract):
    """The own kind of scale."""

    kind = E5M3


class TestMethod(MethodContract):
    """The own method."""

    method = TIGHT


class TestOp(OpContract):
    """The own op."""

    op = Adapter("model.layers.0.adapter", parse_spec("fp16"), 576, 8, parse_spec("int4"))


class TestDevice(DeviceContract):
    """The own device."""

    device = HERE / "own_device.toml"


class TestElement(ElementContract):
    """The own element, as the own machine has it."""

    element = load_accelerator(HERE / "own_accelerator.toml").pe
    runs = ("ladder4", "centred4", "int8:g32:e5m3")


class TestAccelerator(AcceleratorContract):
    """The own machine."""

    accelerator = HERE / "own_accelerator.toml"
