"""An op of one's own, in a file outside of the packages, goes wherever ours go."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest

import roofline
from quant.formats.spec import FormatSpec, parse_spec
from roofline.bounds.levels import by_level
from roofline.bounds.limits import limits
from roofline.bounds.sweep import sweep
from roofline.calibration.laws import load_calibration
from roofline.devices.device import load_hardware
from roofline.reports.page import PageRequest
from roofline.reports.page.data import page_data
from roofline.workloads.amounts import ONE, TOKENS, Amount
from roofline.workloads.models import BUILDERS
from roofline.workloads.models.builder import Builder
from roofline.workloads.models.fields import Fields
from roofline.workloads.ops import (
    BaseOp,
    Op,
    Operands,
    Product,
    stored,
)
from roofline.workloads.ops.kernels import product_class
from roofline.workloads.workload import Workload

H100 = load_hardware("h100-sxm")
LAW = load_calibration(H100)
FP16 = parse_spec("fp16")


def with_ops(work: Workload, *ops: Op) -> Workload:
    """A workload with further ops."""
    template = replace(work.template, ops=(*work.template.ops, *ops))
    return replace(work, template=template)


SMALL = roofline.workload("smollm2-135m", "decode", 1, 20)


def test_a_field_may_take_the_place_of_an_answer() -> None:
    @dataclass(frozen=True, slots=True)
    class Own(BaseOp):
        weights: FormatSpec
        ranks: int
        width: int = 3

    own = Own("own", FP16, parse_spec("int4"), 2)
    assert (own.weights, own.ranks, own.width) == (parse_spec("int4"), 2, 3)
    assert own.with_weights(FP16) == Own("own", FP16, FP16, 2)
    with pytest.raises(TypeError, match="ranks"):
        Own("own", FP16, FP16)  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class LowRank(BaseOp):
    """An op of one's own: ``x @ A @ B`` with a narrow middle, both matrices as one operand."""

    width: int
    rank: int
    weights: FormatSpec

    @property
    def product(self) -> Product:
        """As one product of both widths."""
        return Product(ONE, TOKENS, 2 * self.width * ONE, self.rank * ONE)

    @property
    def operands(self) -> Operands:
        """Both matrices, and x."""
        return Operands(self.weights, self.activations, self.weight_bytes, self.input_bytes)

    @property
    def macs(self) -> Amount:
        """Both products."""
        return TOKENS * (2 * self.width * self.rank)

    @property
    def weight_bytes(self) -> Amount:
        """Both matrices."""
        return ONE * self.stored_bytes

    @property
    def stored_bytes(self) -> float:
        """Both matrices."""
        return self.weights.storage_bits(2 * self.rank, self.width) / 8

    @property
    def parameters(self) -> int:
        """Both matrices."""
        return 2 * self.width * self.rank

    @property
    def input_bytes(self) -> Amount:
        """X."""
        return stored(self.activations, TOKENS, self.width)

    @property
    def output_bytes(self) -> Amount:
        """Y."""
        return stored(self.activations, TOKENS, self.width)

    def kernel_class(self, queries: float) -> str:
        """Return that of its products."""
        return product_class(self.weights, self.activations)


def build(fields: Fields, builder: Builder) -> None:
    """A family of models around the op."""
    fields.check()
    builder.embedding("embed", 1000, 512)
    for i in range(2):
        path = f"layers.{i}.adapter"
        builder.add(LowRank(path, builder.act, 512, 64, builder.format_of(path)))
        builder.residual(f"layers.{i}.residual", 512)
    builder.head("lm_head", 512, 1000, tied=False)


@pytest.fixture
def own_model(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setitem(BUILDERS, "low-rank", build)
    return {"model_type": "low-rank", "_name_or_path": "mine"}


def test_an_op_of_ones_own_in_a_template() -> None:
    own = LowRank("model.adapter", FP16, 576, 16, FP16)
    work = with_ops(SMALL, own)
    assert work.macs == SMALL.macs + 2 * 576 * 16
    assert work.memory.weights == SMALL.memory.weights + 2 * 2 * 576 * 16
    assert work.linears["model.adapter"].weights == FP16
    narrow = work.with_weights({"model.adapter": parse_spec("int4")})
    assert narrow.linears["model.adapter"].operands == narrow.template.ops[-1].operands
    assert narrow.linears["model.adapter"].bytes < work.linears["model.adapter"].bytes
    for law in (None, LAW):
        more, less = roofline.analyze(work, H100, law), roofline.analyze(SMALL, H100, law)
        assert more.time_s - less.time_s == pytest.approx(more.ops[-1].time_s, rel=1e-6)
    assert set(by_level(roofline.analyze(work, H100))["name"]) == {op.name for op in work.ops}
    assert limits(work, H100).batch <= limits(SMALL, H100).batch


def test_a_family_of_ones_own(own_model: dict[str, Any]) -> None:
    frame = sweep(own_model, ["h100-sxm"], batch=[1, 9], weights=["fp16", "int4"], calibrated=True)
    for row in frame.to_dict("records"):
        weights = str(row["weights"])
        work = roofline.workload(own_model, "decode", int(row["batch"]), 2048, weights=weights)
        assert row["time_s"] == pytest.approx(roofline.analyze(work, H100, LAW).time_s, rel=1e-12)
    planned = roofline.workload(own_model, plan={"layers.1.*": "int4"})
    assert planned.linears["layers.1.adapter"].weights == parse_spec("int4")
    assert planned.linears["layers.0.adapter"].weights == FP16
    page = page_data(PageRequest(own_model, H100, all_devices=(), all_tp=(1,)))
    assert "LowRank" in {kind["op"] for kind in page["kinds"]}
    assert roofline.serve(own_model, H100, 100, 10, 4, LAW).tpot_s > 0
