"""Simulated cycles against the published simulator, against the roofline, and explored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import roofline
from hwsim.exploration.explore import explore
from hwsim.exploration.pareto import pareto_front
from hwsim.exploration.space import DesignSpace
from hwsim.machines.load import accelerator_names, load_accelerator
from hwsim.machines.sram import sram_cost
from hwsim.pe.terms import term_count
from hwsim.simulation.simulate import machine_formats, refetch, simulate, tiles
from quant.common.errors import RequestError
from quant.plan import HEAD
from roofline.workloads.ops import Gemm

GOLDEN = Path(__file__).parent.parent / "golden/bitmod_sim_layers.json"


def golden_layers() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["layers"]
    return cases


@pytest.mark.parametrize("case", golden_layers(), ids=lambda c: f"{c['accelerator']}-{c['name']}")
def test_tiles_and_cycles_equal_the_published_simulator(case: dict[str, Any]) -> None:
    machine = load_accelerator("fp16" if case["accelerator"] == "baseline_fp16" else "bitmod")
    array = machine.array(str(case["phase"]))
    batch, n, k = case["w_dim"]
    m = case["i_dim"][1]
    gemm = Gemm(int(batch), int(m), int(n), int(k))
    count = tiles(gemm, array.rows, array.columns, machine.pe.lanes)
    assert count == case["tiles"]
    steps = 1 if machine.kind != "bit-serial" else term_count(str(case["format"]))
    assert count * steps == case["cycle_compute"]
    got = refetch(case["bytes_w"], case["bytes_i"], 1, machine)
    assert list(got) == case["fetch_w_i"]


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
        bounds = roofline.analyze(work, design.hardware_spec()).ops
        result = simulate(work, design)
        for op, bound in zip(result.ops, bounds, strict=True):
            assert op.cycles / design.clock_hz.value >= bound.time_s * (1 - 1e-12), op
        assert result.area_um2 > 1e6


def test_parts_add_up() -> None:
    design = load_accelerator("bitmod")
    work = roofline.scenario("smollm2-135m", 16, 2, **machine_formats(design, "bitmod3"))
    result = simulate(work, design)
    parts = result.energy_parts_j
    assert parts["total"] == pytest.approx(sum(op.repeats * op.energy_j for op in result.ops))
    assert result.time_s == pytest.approx(sum(result.time_by_phase().values()))
    first = next(op for op in result.ops if op.name.endswith("layers.0.mlp.up_proj"))
    # 576 x 1536, 16 tokens on 32 x 32 PEs of 4 lanes, 2 steps.
    assert first.compute_cycles == (576 // 4) * (1536 // 32) * 1 * 2
    power = 0.586e-3 * 1.5 / 1e9
    assert first.compute_j == pytest.approx(first.compute_cycles * 1024 * power)
    assert first.dram_j == pytest.approx(first.dram_bytes * 8 * 18.75e-12)


def test_fewer_bits_never_cost_more_decode_time() -> None:
    design, times = load_accelerator("bitmod"), []
    for weights in ("bitmod3", "bitmod4", "int6", "int8"):
        formats = machine_formats(design, weights)
        work = roofline.workload("smollm2-135m", "decode", 1, 64, **formats)
        times.append(simulate(work, design).time_s)
    assert times == sorted(times)


def test_sram_table() -> None:
    at = sram_cost(524288, 512)
    assert (at.read_j, at.write_j) == pytest.approx((92.7944e-12, 83.3536e-12), rel=1e-4)
    assert sram_cost(524288, 3072).read_j == pytest.approx(2 * sram_cost(524288, 1536).read_j)


def test_formats_the_machine_cannot_run() -> None:
    with pytest.raises(RequestError, match="bitmod cannot run 'fp16'; it runs: int2"):
        simulate(roofline.workload("smollm2-135m", "decode", 1, 8), "bitmod")
    with pytest.raises(RequestError, match="scales int8, not 'fp16'"):
        load_accelerator("bitmod").spec("bitmod3:g128:fp16")
    with pytest.raises(RequestError, match="nearest: bitmod"):
        load_accelerator("bitmood")


def test_bad_accelerator_files(tmp_path: Path) -> None:
    source = Path(roofline.__file__).parent.parent / "hwsim/machines/builtin/bitmod.toml"
    broken = tmp_path / "broken.toml"
    text = source.read_text().replace("rows = 32", "rows = -1")
    broken.write_text(text.replace("lanes = 4", "lanes = 0"))
    with pytest.raises(RequestError, match=r"pe.lanes = 0, prefill.rows = -1"):
        load_accelerator(broken)
    broken.write_text(source.read_text().replace('kind = "bit-serial"', 'kind = "quantum"'))
    with pytest.raises(RequestError, match=r"kind: .*quantum"):
        load_accelerator(broken)


def test_explore_marks_the_front() -> None:
    design = load_accelerator("bitmod")
    work = roofline.workload("smollm2-135m", "prefill", 1, 64, **machine_formats(design))
    space = DesignSpace("bitmod", rows=[16, 32], columns=[32], formats=["bitmod3", "int8"])
    frame = explore(space, work)
    assert len(frame) == 4
    three, eight = frame[frame["format"] == "bitmod3"], frame[frame["format"] == "int8"]
    assert three["pareto"].all()
    assert not eight["pareto"].any()
    assert frame.groupby("format")["time_s"].agg(lambda t: t.is_monotonic_decreasing).all()
    with pytest.raises(RequestError, match="rows = 0"):
        DesignSpace("bitmod", rows=[0])
    with pytest.raises(RequestError, match="nearest: time_s"):
        explore(space, work, ("times",))


def test_pareto_front() -> None:
    front = pareto_front([[1, 3], [2, 2], [3, 1], [3, 3], [2, 2]])
    assert front.tolist() == [True, True, True, False, True]
    random = np.random.default_rng(0).random((40, 3))
    mask = pareto_front(random)
    for i in range(40):
        no_worse = (random <= random[i]).all(axis=1)
        dominated = (no_worse & (random < random[i]).any(axis=1)).any()
        assert mask[i] != dominated


def test_codes_set_the_formats() -> None:
    import quant

    design = load_accelerator("bitmod")
    work = roofline.workload("smollm2-135m", "decode", 1, 8, **machine_formats(design))
    path = "model.layers.0.mlp.up_proj"
    qt = quant.quantize(np.ones((1536, 576)), "int8", scale="int8")
    codes = {path: qt}
    assert simulate(work, design, codes).cycles > simulate(work, design).cycles
    assert HEAD in work.linears
