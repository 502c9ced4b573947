"""Ops answer for themselves: operands, amounts by name, formats of their weights."""

from __future__ import annotations

from dataclasses import replace

import pytest

import roofline
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from roofline.bounds.sweep import sweep
from roofline.calibration.laws import load_calibration
from roofline.devices.device import load_hardware
from roofline.workloads.amounts import Step
from roofline.workloads.op_work import OpWork
from roofline.workloads.ops import (
    FlashAttention,
    LinearAttention,
    MatMul,
    has_matrix,
)
from roofline.workloads.quantities import QUANTITIES, Quantity, moved_bytes

H100 = load_hardware("h100-sxm")
LAW = load_calibration(H100)
FP16 = parse_spec("fp16")


SMALL = roofline.workload("smollm2-135m", "decode", 1, 20)


@pytest.mark.parametrize("model", ["smollm2-135m", "mixtral-8x7b-v0.1", "deepseek-v2-lite"])
@pytest.mark.parametrize("flash", [True, False])
def test_operands_are_what_a_product_reads(model: str, flash: bool) -> None:
    work = roofline.workload(model, "decode", 3, 77, weights="int4", kv="int8", flash=flash)
    for op in work.ops:
        operands = op.operands
        assert (operands is None) == (op.gemm is None)
        assert (op.stationary_bytes > 0) == (op.gemm is not None)
        if operands is None:
            continue
        assert operands.moving == op.definition.activations
        assert op.moving_bytes == op.input_bytes
        own = op.weight_bytes if has_matrix(op.definition) else op.kv_bytes
        assert op.stationary_bytes == own
        assert op.stationary_bytes + op.moving_bytes <= op.bytes


def test_two_activations_are_two_operands() -> None:
    op = MatMul("mm", FP16, batch=2, m=3, n=5, k=7)
    work = OpWork.of(op, Step(1, 1, 0))
    assert (work.stationary_bytes, work.moving_bytes) == (2 * 5 * 7 * 2, 2 * 3 * 7 * 2)
    assert work.stationary_bytes + work.moving_bytes == work.input_bytes


def test_products_of_linear_attention_are_all_its_macs() -> None:
    op = LinearAttention("a", FP16, heads=8, head_dim=64, value_dim=32, features=16, window=4)
    work = OpWork.of(op, Step(3, 5, 100))
    assert work.gemm is not None
    assert work.gemm.batch * work.gemm.m * work.gemm.n * work.gemm.k == work.macs


def test_three_ops_do_what_one_did() -> None:
    work = roofline.workload("llama-3.1-8b", "prefill", 2, 100)
    apart = roofline.workload("llama-3.1-8b", "prefill", 2, 100, flash=False)
    parts = [part for op in work.ops for part in op.unfused()]
    assert parts == list(apart.ops)
    flash = next(op for op in work.template.ops if isinstance(op, FlashAttention))
    assert [part.unfused() for part in flash.unfused()] == [(part,) for part in flash.unfused()]


def test_columns_are_looked_up_by_name() -> None:
    work = roofline.workload("mixtral-8x7b-v0.1", "prefill", 2, 50, weights="int4")
    assert tuple(OpWork.__dataclass_fields__)[2:] == QUANTITIES
    for quantity in Quantity:
        column = [getattr(op, QUANTITIES[quantity]) for op in work.ops]
        assert work.table[:, quantity].tolist() == column
    assert moved_bytes(work.table).tolist() == [op.bytes for op in work.ops]


def test_weights_take_another_format_or_say_why_not() -> None:
    spec = parse_spec("int4")
    for op in SMALL.template.kinds:
        if op.weights is None:
            with pytest.raises(RequestError, match="has no weights"):
                op.with_weights(spec)
        else:
            assert op.with_weights(spec).weights == spec
    named = [op.name for op in SMALL.template.ops if op.paths]
    changed = SMALL.with_weights(dict.fromkeys(named, spec))
    assert [op.name for op in changed.template.ops if op.weights == spec] == named
    matrices = SMALL.with_weights({"*": spec, "lm_head": spec})
    with_matrix = [op.name for op in SMALL.template.ops if has_matrix(op)]
    assert [op.name for op in matrices.template.ops if op.weights == spec] == with_matrix
    with pytest.raises(RequestError, match=r"unknown layer 'model\.norm'"):
        SMALL.with_weights({"model.norm": spec})


def test_formats_are_text_or_parsed() -> None:
    text = {"weights": "bitmod4:g128:int8", "kv": "int8", "head": "int8", "activations": "bf16"}
    plan = {"model.layers.4.*": "int4"}
    one = roofline.workload("smollm2-135m", plan=plan, **text)  # type: ignore[arg-type]
    parsed = {key: parse_spec(value) for key, value in text.items()}
    two = roofline.workload(
        "smollm2-135m",
        plan={path: parse_spec(value) for path, value in plan.items()},
        **parsed,  # type: ignore[arg-type]
    )
    assert one == two
    assert one.template is two.template
    frame = sweep("smollm2-135m", weights=[parse_spec("int4")])
    assert list(frame["weights"]) == ["int4:g128:fp16"]


def test_operands_that_no_peak_holds_are_said() -> None:
    wide = roofline.workload("smollm2-135m", weights="fp32", activations="fp32")
    assert "fp32 x fp32" in roofline.analyze(wide, "tpu-v5e").unheld
    assert roofline.analyze(wide, "h100-sxm").unheld == ()
    assert roofline.analyze(SMALL, "tpu-v5e").unheld == ()


def test_peaks_do_not_depend_on_which_op_comes_first() -> None:
    spec = roofline.load_hardware("tpu-v5e")
    assert spec.vector_ops is None
    work = roofline.workload("smollm2-135m", activations="int8")
    turned = replace(work, template=replace(work.template, ops=work.template.ops[::-1]))
    peaks = {op.op.name: op.peak for op in roofline.analyze(work, spec).ops}
    assert {op.op.name: op.peak for op in roofline.analyze(turned, spec).ops} == peaks
    assert peaks["model.norm"] == spec.peak_ops["bf16"].value
