"""Everything built in keeps the contracts that others' own parts are held to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from hwsim.testing import FormatContract, LayoutContract, ScaleKindContract
from quant.formats.registry import FORMATS
from quant.formats.scales import SCALES


def subclasses(contract: type, attribute: str, entries: Mapping[str, object]) -> list[type]:
    """One subclass of a contract for each entry."""
    return [type(f"Test_{name}", (contract,), {attribute: e}) for name, e in entries.items()]


def cases(classes: list[type]) -> list[object]:
    """Every test of every class, as a parameter with its name."""
    return [
        pytest.param(cls, test, id=f"{cls.__name__.removeprefix('Test_')}-{test}")
        for cls in classes
        for test in dir(cls)
        if test.startswith("test_")
    ]


CODED = {name: entry for name, entry in FORMATS.items() if not entry.is_plain}
LAYOUTS = {name: CODED[name] for name in ("int4", "olive-int4", "hif4", "codebook3")}
CONTRACTS = [
    *subclasses(FormatContract, "format", CODED),
    *subclasses(LayoutContract, "format", LAYOUTS),
    *subclasses(ScaleKindContract, "kind", SCALES),
]


@pytest.mark.parametrize(("contract", "test"), cases(CONTRACTS))
def test_built_in(contract: type, test: str) -> None:
    getattr(contract(), test)()
