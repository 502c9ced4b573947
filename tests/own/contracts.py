"""The contracts that ``hwsim.testing`` has for own parts; run by ``tests/test_own_parts.py``."""

from __future__ import annotations

from hwsim.testing import FormatContract, LayoutContract, ScaleKindContract
from tests.own.own_format import LADDER
from tests.own.own_layout import CENTRED
from tests.own.own_scale import E5M3


class TestFormat(FormatContract):
    """The own format."""

    format = LADDER


class TestLayout(LayoutContract):
    """The own layout, by the format that has it."""

    format = CENTRED


class TestScaleKind(ScaleKindContract):
    """The own kind of scale."""

    kind = E5M3
