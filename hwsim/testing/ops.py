"""Contract of ops."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import roofline
from hwsim.testing.refusals import refusal
from quant.formats.spec import parse_spec
from roofline.workloads.amounts import Step
from roofline.workloads.ops import Op
from roofline.workloads.ops.kernels import CLASSES
from roofline.workloads.quantities import QUANTITIES, Quantity
from roofline.workloads.workload import Workload

STEPS = (Step(1, 1, 0), Step(1, 1, 100), Step(4, 1, 1000), Step(2, 64, 0), Step(1, 16, 48))
DEVICE, MODEL = "h100-sxm", "smollm2-135m"


class OpContract:
    """Set ``op``; ``own_class`` too where it names a class of kernels of yours."""

    op: ClassVar[Op]
    own_class: ClassVar[str | None] = None

    def workload(self) -> Workload:
        """A model's decode step with the op at its end."""
        work = roofline.workload(MODEL, "decode", 1, 64)
        template = dataclasses.replace(work.template, ops=(*work.template.ops, self.op))
        return dataclasses.replace(work, template=template)

    def test_it_is_a_value(self) -> None:
        """Equal ops are equal and have one hash; a name is a path."""
        assert self.op == self.op.named(self.op.name)
        assert hash(self.op) == hash(self.op.named(self.op.name))
        path = f"{self.op.name}.again"
        assert self.op.named(path).name == path
        assert self.op.kind

    def test_amounts_are_counts(self) -> None:
        """Every number is finite and not negative at every step, and some are above 0."""
        for step in STEPS:
            numbers = {name: Quantity(i).of(self.op).at(step) for i, name in enumerate(QUANTITIES)}
            assert all(math.isfinite(n) and n >= 0 for n in numbers.values()), (step, numbers)
            moved = [n for name, n in numbers.items() if name.endswith("bytes")]
            assert sum(moved) > 0, f"{step}: an op that moves nothing is none"
            assert numbers["ops"] >= 2 * numbers["macs"] * (1 - 1e-12), (step, numbers)
        assert self.op.stored_bytes >= 0
        assert self.op.parameters >= 0

    def test_a_product_has_operands(self) -> None:
        """Both or neither; no more MACs than the product has; operands are part of the bytes."""
        assert (self.op.product is None) == (self.op.operands is None)
        if self.op.product is None or self.op.operands is None:
            assert all(self.op.macs.at(step) == 0 for step in STEPS), "MACs without a product"
            return
        for step in STEPS:
            gemm = self.op.product.at(step)
            whole = gemm.batch * gemm.m * gemm.n * gemm.k
            assert self.op.macs.at(step) <= whole * (1 + 1e-9), step
            moved = sum(
                quantity.of(self.op).at(step)
                for quantity in Quantity
                if QUANTITIES[quantity].endswith("bytes") and quantity != Quantity.LINK_BYTES
            )
            operands = self.op.operands
            read = operands.stationary_bytes.at(step) + operands.moving_bytes.at(step)
            assert read <= moved * (1 + 1e-9), step

    def test_weights_take_another_format(self) -> None:
        """``with_weights`` changes the format; without a weight matrix it raises."""
        spec = parse_spec("int2")
        if self.op.weights is not None:
            assert self.op.with_weights(spec).weights == spec
            return
        assert refusal(lambda: self.op.with_weights(spec))

    def test_its_class_of_kernels_is_known(self) -> None:
        """In prefill and in decode."""
        known = {*CLASSES, *([self.own_class] if self.own_class else [])}
        for queries in (1.0, 64.0):
            assert self.op.kernel_class(queries) in known

    def test_what_runs_in_its_place(self) -> None:
        """Parts of an op without fused attention do the same MACs."""
        for step in STEPS:
            parts = sum(part.macs.at(step) for part in self.op.unfused())
            assert math.isclose(parts, self.op.macs.at(step), rel_tol=1e-9, abs_tol=1e-9)

    def test_analyze(self) -> None:
        """It has a bound and a time, least and expected, and makes the model no faster."""
        plain, work = roofline.workload(MODEL, "decode", 1, 64), self.workload()
        law = roofline.load_calibration(roofline.load_hardware(DEVICE))
        for calibration in (None, law):
            before = roofline.analyze(plain, DEVICE, calibration)
            after = roofline.analyze(work, DEVICE, calibration)
            assert after.time_s >= before.time_s
            assert math.isfinite(after.time_s)
            assert after.ops[-1].op.name == self.op.name
