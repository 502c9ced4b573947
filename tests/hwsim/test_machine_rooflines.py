"""No machine, format or phase is simulated faster than the roofline of the same machine allows."""

from __future__ import annotations

from typing import Literal

import pytest

import roofline
from hwsim.machines.load import accelerator_names, load_accelerator
from hwsim.simulation.own import with_own_formats
from hwsim.simulation.simulate import machine_formats, simulate
from roofline.workloads.workload import as_scenario
from tests.hwsim.bounds import least_time

MODELS = ["smollm2-135m", "llama-2-7b", "mixtral-8x7b-v0.1", "deepseek-v2-lite", "mamba-2.8b"]
NO_DECODE = ["bert-base-uncased", "resnet-50"]
MODELS += NO_DECODE


@pytest.mark.parametrize("machine", accelerator_names())
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("model", MODELS)
def test_never_under_the_roofline(
    machine: str, phase: Literal["prefill", "decode"], model: str
) -> None:
    design = load_accelerator(machine)
    for weights in design.weights[:: max(1, len(design.weights) // 3)]:
        if phase == "decode" and model in NO_DECODE:
            continue
        work = roofline.workload(model, phase, 1, 300, **machine_formats(design, weights))
        ((run, _),) = with_own_formats(as_scenario(work), design).parts
        bounds = roofline.analyze(run, design.hardware_spec()).ops
        result = iter(simulate(work, design).ops)
        for op, bound in zip(run.ops, bounds, strict=True):
            parts = [next(result) for _ in op.unfused()]
            cycles = sum(part.cycles for part in parts)
            assert cycles / design.clock_hz.value >= least_time(bound, design) * (1 - 1e-12)
