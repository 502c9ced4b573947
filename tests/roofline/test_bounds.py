"""What any bound must do: fall with bandwidth and peak, add over layers, agree with a sweep."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from quant.common.sourced import Sourced
from roofline.bounds.analysis import Analysis
from roofline.bounds.levels import by_level
from roofline.bounds.limits import limits
from roofline.bounds.sweep import sweep
from roofline.devices.device import HardwareSpec, load_hardware

MODELS = st.sampled_from(["smollm2-135m", "mixtral-8x7b-v0.1", "deepseek-v2-lite", "mamba-2.8b"])
PHASES = st.sampled_from(["prefill", "decode"])


def scaled(spec: HardwareSpec, bandwidth: float, peak: float) -> HardwareSpec:
    return replace(
        spec,
        memory_bandwidth=Sourced(spec.memory_bandwidth.value * bandwidth, "test"),
        peak_ops={k: Sourced(v.value * peak, "test") for k, v in spec.peak_ops.items()},
    )


@given(MODELS, PHASES, st.integers(1, 64), st.integers(1, 4000), st.floats(1, 8), st.floats(1, 8))
@settings(max_examples=40, deadline=None)
def test_a_better_device_is_never_slower(
    model: str, phase: str, batch: int, context: int, bandwidth: float, peak: float
) -> None:
    spec = load_hardware("h100-sxm")
    work = roofline.workload(model, phase, batch, context)  # type: ignore[arg-type]
    slow = roofline.analyze(work, spec).time_s
    assert roofline.analyze(work, scaled(spec, bandwidth, 1)).time_s <= slow
    assert roofline.analyze(work, scaled(spec, 1, peak)).time_s <= slow
    both = roofline.analyze(work, scaled(spec, bandwidth, peak)).time_s
    assert both >= slow / max(bandwidth, peak) * (1 - 1e-12)


def by_layer(analysis: Analysis, layer: int) -> float:
    return sum(o.time_s for o in analysis.ops if f".layers.{layer}." in o.op.name)


def test_layers_add_up() -> None:
    analysis = roofline.analyze(roofline.workload("llama-2-7b", "decode", 4, 500), "a100-80g")
    layers = [by_layer(analysis, i) for i in range(32)]
    assert layers == pytest.approx([layers[0]] * 32)
    rest = sum(o.time_s for o in analysis.ops if ".layers." not in o.op.name)
    assert analysis.time_s == pytest.approx(32 * layers[0] + rest)


def test_each_op_is_the_longest_of_its_parts() -> None:
    spec = load_hardware("h100-sxm")
    work = roofline.workload("llama-3.1-8b", "prefill", 2, 700, tp=2)
    for bound in roofline.analyze(work, spec).ops:
        assert spec.special_ops is not None
        assert spec.link is not None
        parts = {
            "compute": max(
                bound.op.ops / bound.peak, bound.op.special_ops / spec.special_ops.value
            ),
            "memory": bound.op.bytes / bound.bandwidth,
            "link": bound.op.link_bytes / spec.link.bandwidth.value,
        }
        assert bound.time_s == pytest.approx(max(parts.values()))
        assert parts[bound.bound] == max(parts.values())


def test_long_prompts_read_keys_again_where_the_chip_is_small() -> None:
    work = roofline.workload("llama-3.1-8b", "prefill", 1, 100_000)
    big = roofline.analyze(work, "b200-sxm").ops
    small = roofline.analyze(work, "rtx-3090").ops
    kv = [next(o.op.kv_bytes for o in ops if o.op.op == "FlashAttention") for ops in (big, small)]
    assert kv[1] > 5 * kv[0]


@pytest.mark.parametrize("calibrated", [False, True])
def test_a_sweep_is_many_analyses(calibrated: bool) -> None:
    frame = sweep(
        "mixtral-8x7b-v0.1",
        ["h100-sxm", "mi300x"],
        "decode",
        [1, 7, 64],
        [10, 3000],
        ["fp16", "bitmod4:g128:int8"],
        ["fp16", "fp8-e4m3"],
        tp=[1, 2],
        calibrated=calibrated,
    )
    assert len(frame) == 2 * 3 * 2 * 2 * 2 * 2
    for row in frame.to_dict("records"):
        spec = load_hardware(str(row["hardware"]))
        law = roofline.load_calibration(spec) if calibrated else None
        work = roofline.workload(
            "mixtral-8x7b-v0.1",
            "decode",
            int(row["batch"]),
            int(row["context"]),
            weights=str(row["weights"]),
            kv=str(row["kv"]),
            tp=int(row["tp"]),
        )
        one = roofline.analyze(work, spec, law)
        assert row["time_s"] == pytest.approx(one.time_s, rel=1e-12)
        assert row["memory_bytes"] == pytest.approx(one.memory.total, rel=1e-12)
        assert row["fits"] == one.fits
        assert row["memory_share"] == pytest.approx(one.bound_share()["memory"], abs=1e-9)


def test_sweeps_of_prompts() -> None:
    frame = sweep("smollm2-135m", phase="prefill", batch=[1, 2], context=[5, 50])
    assert isinstance(frame, pd.DataFrame)
    one = roofline.analyze(roofline.workload("smollm2-135m", "prefill", 2, 50), "h100-sxm")
    assert frame["time_s"].iloc[-1] == pytest.approx(one.time_s)
    assert np.all(frame["tokens_per_s"] > 0)


@pytest.mark.parametrize("model", ["llama-2-7b", "mixtral-8x7b-v0.1", "mistral-7b-v0.1"])
def test_the_largest_batch_just_fits(model: str) -> None:
    spec = load_hardware("b200-sxm")
    for phase in ("prefill", "decode"):
        most = limits(roofline.workload(model, phase, 1, 2048), spec)
        for batch, fits in ((most.batch, True), (most.batch + 1, False)):
            work = roofline.workload(model, phase, batch, 2048)
            assert roofline.analyze(work, spec).fits == fits
    assert limits(roofline.workload("llama-3.1-405b"), spec).batch == 0


def test_every_level_is_a_roof() -> None:
    analysis = roofline.analyze(roofline.workload("llama-2-7b", "prefill", 4, 4096), "h100-sxm")
    frame = by_level(analysis)
    assert list(dict.fromkeys(frame["level"])) == ["memory", "shared memory"]
    rows = frame[frame["level"] == "memory"].to_dict("records")
    outer = {str(row["name"]): float(row["bytes"]) for row in rows}
    for bound in analysis.ops:
        assert outer[bound.op.name] >= bound.op.bytes
    kept = load_hardware("h100-sxm").levels[0].capacity.value / 2
    name, product = "model.layers.0.mlp.up_proj", 4 * 4096 * 4096 * 11008
    assert outer[name] == pytest.approx(2 * 2 * product / kept**0.5)
    tiny = roofline.analyze(roofline.workload("llama-2-7b", "decode", 1, 10), "h100-sxm")
    moved = by_level(tiny).set_index(["name", "level"])["bytes"]
    assert moved[name, "memory"] == next(o.op.bytes for o in tiny.ops if o.op.name == name)
