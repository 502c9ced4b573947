"""Everything built in keeps the contracts that others' own parts are held to."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

import roofline
from hwsim.machines.load import accelerator_names, load_accelerator
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
from quant.formats.registry import FORMATS
from quant.formats.scales import SCALES
from quant.methods.registry import METHODS
from roofline.devices.device import hardware_names
from roofline.workloads.ops import Op
from roofline.workloads.setting import WorkloadOptions
from roofline.workloads.transforms import linearize_attention

SLOW = {"awq", "omniquant", "peqa", "smoothquant"}
"""Methods that train or search: minutes."""
MODELS: tuple[tuple[str, WorkloadOptions], ...] = (
    ("llama-2-7b", {"weights": "int4"}),
    ("mixtral-8x7b-v0.1", {"tp": 2, "ep": 2, "pp": 2}),
    ("deepseek-v3", {}),
    ("mamba-2.8b", {}),
    ("nemotron-h-56b-base-8k", {}),
    ("qwen3.5-35b-a3b", {}),
    ("llama-2-7b", {"flash": False}),
)


def one_of_each_kind() -> list[Op]:
    """Ops of every kind that built-in models have, in a format of weights of four bits."""
    works = [roofline.workload(model, "decode", 1, 64, **options) for model, options in MODELS]
    works += [linearize_attention(works[0]), roofline.workload("resnet-50", "prefill", 1, 1)]
    kinds = {op.kind: op for work in works for op in work.template.ops}
    return list(kinds.values())


class BitSerialElement(ElementContract):
    element = load_accelerator("bitmod").pe
    runs = ("bitmod3:g128:int8", "int4-asym:g128:int8", "int8:g128:int8")
    refuses = "nf4"


class MultiplyAccumulateElement(ElementContract):
    element = load_accelerator("fp16").pe
    runs = ("fp16",)


def subclasses(contract: type, attribute: str, entries: Mapping[str, object]) -> list[type]:
    """One subclass of a contract for each entry."""
    return [type(f"Test_{name}", (contract,), {attribute: e}) for name, e in entries.items()]


def cases(classes: list[type]) -> list[object]:
    """Every test of every class, as a parameter with its name."""
    return [
        pytest.param(
            cls,
            test,
            id=f"{(name := cls.__name__.removeprefix('Test_'))}-{test}",
            marks=[pytest.mark.slow] if name in SLOW else [],
        )
        for cls in classes
        for test in dir(cls)
        if test.startswith("test_")
    ]


CODED = {name: entry for name, entry in FORMATS.items() if not entry.is_plain}
LAYOUTS = {name: CODED[name] for name in ("int4", "olive-int4", "hif4", "codebook3")}
OPS = {f"{op.kind}-{i}": op for i, op in enumerate(one_of_each_kind())}
CONTRACTS = [
    *subclasses(DeviceContract, "device", {name: name for name in hardware_names()}),
    *subclasses(AcceleratorContract, "accelerator", {n: n for n in accelerator_names()}),
    *subclasses(MethodContract, "method", METHODS),
    *subclasses(OpContract, "op", OPS),
    BitSerialElement,
    MultiplyAccumulateElement,
    *subclasses(FormatContract, "format", CODED),
    *subclasses(LayoutContract, "format", LAYOUTS),
    *subclasses(ScaleKindContract, "kind", SCALES),
]


@pytest.mark.parametrize(("contract", "test"), cases(CONTRACTS))
def test_built_in(contract: type, test: str) -> None:
    getattr(contract(), test)()
