"""Every op has the class of kernels that it had, or says that none is known for it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import roofline
from quant.common.errors import RequestError
from quant.formats.spec import FormatLike, as_spec, parse_spec
from roofline.calibration.classes import launches, law_key
from roofline.calibration.laws import Calibration, load_calibration
from roofline.devices.device import load_hardware
from roofline.workloads import transforms
from roofline.workloads.amounts import TOKENS, Amount
from roofline.workloads.models import config_text
from roofline.workloads.ops import (
    BaseOp,
    Collective,
    Elementwise,
    Op,
    Router,
)
from roofline.workloads.ops.kernels import CLASSES, HALF, product_class
from roofline.workloads.setting import WorkloadOptions
from roofline.workloads.template import Template, generates
from roofline.workloads.workload import Phase, Workload

# Snapshot of an older version of this package (its note says which), not a number from outside.
CLASSES_BEFORE: dict[str, str] = json.loads(
    (Path(__file__).parent / "kernel_classes.json").read_text()
)["models"]
CASES: tuple[tuple[Phase, WorkloadOptions], ...] = (
    ("prefill", {}),
    ("decode", {}),
    ("prefill", {"weights": "bitmod4:g128:int8", "kv": "int8", "flash": False}),
)
H100 = load_hardware("h100-sxm")
LAW = load_calibration(H100)
FP16 = parse_spec("fp16")


def lines(model: str) -> list[str]:
    """Every op of a model in three cases: its law, and whether it starts a kernel."""
    out = []
    for phase, options in CASES:
        if phase == "decode" and not generates(*config_text(model)):
            continue
        work = roofline.workload(model, phase, 2, 300, **options)
        template = as_then(work.template, options.get("weights", "fp16"))
        laws = [law_key(op, work.step.queries) for op in template.kinds]
        starts = launches(template.ops)
        for op, kind, start in zip(template.ops, template.index, starts, strict=True):
            out.append(f"{op.name} {laws[kind]} {bool(start)}")
    return out


def as_then(template: Template, weights: FormatLike) -> Template:
    """The ops with the formats that the snapshot was made with: routers had that of the layers."""
    spec = as_spec(weights)
    ops = (op.with_weights(spec) if isinstance(op, Router) else op for op in template.ops)
    return replace(template, ops=tuple(ops))


@pytest.mark.parametrize("model", CLASSES_BEFORE)
def test_kernel_classes(model: str) -> None:
    text = "\n".join(lines(model))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == CLASSES_BEFORE[model], text[:2000]


@pytest.mark.parametrize(
    ("weights", "activations", "name"),
    [
        ("fp16", "fp16", "gemm:fp16"),
        ("int4", "fp16", "gemm:w4"),
        ("int8", "fp16", "gemm:w8"),
        ("bitmod3", "fp16", "gemm:w4"),
        ("int8", "int8", "gemm:fp8"),
        ("fp8-e4m3", "fp8-e4m3", "gemm:fp8"),
        ("mxfp4", "mxfp8-e4m3", "gemm:fp8"),
        ("nvfp4", "nvfp4", "gemm:nvfp4"),
        ("int4", "int4", "gemm:fp16"),
    ],
)
def test_products_are_told_apart_by_their_operands(
    weights: str, activations: str, name: str
) -> None:
    assert product_class(parse_spec(weights), parse_spec(activations)) == name
    assert name in CLASSES


def with_ops(work: Workload, *ops: Op) -> Workload:
    """A workload with further ops."""
    template = replace(work.template, ops=(*work.template.ops, *ops))
    return replace(work, template=template)


SMALL = roofline.workload("smollm2-135m", "decode", 1, 20)


@dataclass(frozen=True, slots=True)
class Unclassed(BaseOp):
    """An op whose author did not say which kernels it is like."""

    @property
    def input_bytes(self) -> Amount:
        """A number a token."""
        return 2 * TOKENS


@pytest.mark.parametrize(
    ("op", "messages"),
    [
        (Unclassed("model.odd", FP16), ["'model.odd'", "'Unclassed'", "gemm:fp16"]),
        (
            Elementwise("model.layers.3.odd", FP16, "Wavelet", TOKENS * 4, 1.0),
            ["'model.layers.3.odd'", "'Wavelet'", "Softmax", "softmax"],
        ),
    ],
)
def test_a_calibration_refuses_what_it_does_not_know(op: Op, messages: list[str]) -> None:
    work = with_ops(SMALL, op)
    assert roofline.analyze(work, H100).ops[-1].time_s > 0
    with pytest.raises(RequestError) as caught:
        roofline.analyze(work, H100, LAW)
    for message in messages:
        assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_collective_sends_nobody_knows_how_much() -> None:
    odd = Collective("model.layers.0.scatter", FP16, "ReduceScatter", 4, 576)
    with pytest.raises(RequestError, match=r"model\.layers\.0\.scatter.*ReduceScatter.*AllReduce"):
        roofline.analyze(with_ops(SMALL, odd), H100)
    with pytest.raises(RequestError, match="ReduceScatter"):
        odd.kernel_class(1)


@dataclass(frozen=True, slots=True)
class Hashing(Unclassed):
    """An op with a class of kernels that no table has."""

    def kernel_class(self, queries: float) -> str:
        """A class of one's own."""
        return "hashing"


def test_a_class_of_ones_own_needs_a_law() -> None:
    work = with_ops(SMALL, Hashing("model.hash", FP16))
    with pytest.raises(RequestError, match=r"'model\.hash' of kind 'Hashing'"):
        roofline.analyze(work, H100, LAW)
    own = Calibration(
        LAW.device, {**LAW.kernels, "hashing": replace(LAW.kernels[HALF], floor_s=1.0)}
    )
    assert 1 < roofline.analyze(work, H100, own).time_s < 1.1


def test_a_known_class_that_nobody_measured_runs_as_16_bit_products() -> None:
    few = Calibration(LAW.device, {HALF: LAW.kernels[HALF]})
    norm = next(op for op in SMALL.template.ops if op.kind == "Norm")
    assert few.kernel(norm, 1) == LAW.kernels[HALF]


def test_linear_attention_is_calibrated() -> None:
    work = roofline.workload("llama-3.1-8b", "decode", 1, 5000)
    linear = transforms.linearize_attention(work)
    expected = roofline.analyze(linear, H100, LAW)
    assert expected.ideal_s < expected.time_s < roofline.analyze(work, H100, LAW).time_s
