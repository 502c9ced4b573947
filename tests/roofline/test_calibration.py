"""Laws are fitted to kernels alone, predict kernels they have not seen, and carry to servers."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import roofline
from quant.common.errors import RequestError
from quant.common.sourced import Sourced
from roofline.calibration.classes import starts_kernel
from roofline.calibration.laws import calibrate, fitted, load_calibration, save
from roofline.calibration.measured import Cases, Kernel, cases_of, combine, fit
from roofline.calibration.table import read_kernels
from roofline.devices.device import load_hardware
from roofline.validation.validation import kernel_errors, read_serving, serving_rows

OPENED: list[str] = []
LISTENING = [False]


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and LISTENING[0]:
        OPENED.append(str(arguments[0]))


sys.addaudithook(_listen)


def test_calibration_cannot_read_the_serving_rows() -> None:
    OPENED.clear()
    LISTENING[0] = True
    try:
        calibrate(load_hardware("h100-sxm"))
    finally:
        LISTENING[0] = False
    read = [Path(name).name for name in OPENED if name.endswith(".csv")]
    assert set(read) == {"kernels.csv", "efficiencies.csv"}
    assert "tpot_s" not in read_kernels().columns
    assert "tpot_s" in read_serving().columns


@pytest.mark.parametrize("device", ["a100-80g", "h100-sxm", "b200-sxm", "h200-sxm"])
def test_the_committed_laws_are_what_the_fit_gives(device: str) -> None:
    spec = load_hardware(device)
    fresh, committed = calibrate(spec).kernels, fitted()[device]
    measured = cases_of(read_kernels(), spec)
    assert set(fresh) == set(committed)
    for name, law in fresh.items():
        if name in measured:
            # Where nothing is bound by computing its share is free, and differs with the processor
            # that fits (so may the optimum that is found): laws are the same if they say the same
            # of what was measured.
            wanted = seconds(committed[name], measured[name])
            assert seconds(law, measured[name]) == pytest.approx(wanted, rel=0.05), name
        else:
            assert law.compute == pytest.approx(committed[name].compute, rel=0.02), name
            assert law.memory == pytest.approx(committed[name].memory, rel=0.02), name
            assert law.floor_s == pytest.approx(committed[name].floor_s, rel=0.05), name


def seconds(law: Kernel, cases: Cases) -> np.ndarray:
    """What a law predicts of measured cases."""
    compute, memory = cases.compute / law.compute, cases.memory / law.memory
    body = combine(compute, memory, np.array(law.sharpness))
    return np.asarray(law.floor_s + body + law.per_rank_s * (cases.ranks - 1))


def test_a_fit_finds_the_law_that_made_the_times() -> None:
    rng = np.random.default_rng(1)
    compute, memory = (10 ** rng.uniform(-6, -3, 200) for _ in range(2))
    law = 3e-6 + combine(compute / 0.6, memory / 0.8, np.array(3.0))
    cases = Cases(compute, memory, np.ones(200), np.zeros(200, dtype=np.intp), law)
    fitted_law = fit(cases, "none")
    assert (fitted_law.compute, fitted_law.memory) == pytest.approx((0.6, 0.8), rel=1e-3)
    assert fitted_law.floor_s == pytest.approx(3e-6, rel=1e-2)
    assert fitted_law.error < 1e-3


def test_kernels_are_predicted_as_well_as_asked() -> None:
    errors = kernel_errors().set_index(["device", "class"])["median"]
    for device in ("a100-80g", "h100-sxm"):
        assert errors[device, "gemm:fp16"] <= 0.15
        assert errors[device, "attention_prefill"] <= 0.20
        assert errors[device, "attention_decode"] <= 0.20


def test_servers_are_predicted_as_well_as_asked() -> None:
    rows = serving_rows()
    error = (rows["tpot_calibrated_s"] / rows["tpot_s"].astype(float) - 1).abs()
    h100 = rows["device"] == "h100-sxm"
    llama = h100 & (rows["model"] == "meta-llama/Llama-3.1-8B-Instruct")
    qwen = h100 & (rows["model"] == "Qwen/Qwen3-32B") & rows["backend"].isin(["vllm", "trtllm"])
    assert error[llama & rows["tp"].isin([1, 2])].mean() <= 0.06
    assert error[llama & rows["tp"].isin([4, 8])].mean() <= 0.12
    assert error[qwen].mean() <= 0.15
    ideal = (rows["tpot_ideal_s"] / rows["tpot_s"].astype(float) - 1).abs()
    assert ideal[llama].mean() > 2 * error[llama].mean()


def test_expected_times_are_never_under_the_least() -> None:
    for device in ("h100-sxm", "a100-80g", "rtx-4090", "mi300x", "tpu-v5e"):
        spec = load_hardware(device)
        for phase in ("prefill", "decode"):
            work = roofline.workload("llama-3.1-8b", phase, 4, 900)
            analysis = roofline.analyze(work, spec, load_calibration(spec))
            assert analysis.time_s > analysis.ideal_s
            assert 0 < analysis.expected_error < 0.5


def test_what_is_not_measured_is_borrowed_and_said() -> None:
    spec = load_hardware("rtx-4090")
    borrowed = load_calibration(spec).borrowed
    assert borrowed["gemm:fp16"] in fitted()
    assert load_calibration(load_hardware("mi300x")).borrowed["gemm:fp16"] == "mi210"
    assert "gemm:fp16" not in load_calibration(load_hardware("h100-sxm")).borrowed


def test_a_machine_may_state_its_launch_floor() -> None:
    spec = replace(load_hardware("h100-sxm"), launch_floor=Sourced(1e-4, "test"))
    law = load_calibration(spec)
    assert {kernel.floor_s for kernel in law.kernels.values()} == {1e-4}
    work = roofline.workload("smollm2-135m", "decode", 1, 1)
    assert roofline.analyze(work, spec, law).time_s > 30 * 8 * 1e-4


def test_neighbours_with_the_same_input_are_one_kernel() -> None:
    ops = roofline.workload("smollm2-135m", "decode", 1, 5).template.ops
    starts = dict(zip((op.name for op in ops), starts_kernel(ops), strict=True))
    at = "model.layers.0."
    assert starts[f"{at}self_attn.q_proj"]
    assert not starts[f"{at}self_attn.k_proj"]
    assert not starts[f"{at}mlp.up_proj"]
    assert starts[f"{at}mlp.down_proj"]


def test_ones_own_measurements(tmp_path: Path) -> None:
    frame = read_kernels()
    mine = frame[(frame["device"] == "h100-sxm") & (frame["kernel"] == "gemm")].copy()
    mine["seconds"] *= 2
    table, fits = tmp_path / "mine.csv", tmp_path / "mine.toml"
    mine.to_csv(table, index=False)
    spec = load_hardware("h100-sxm")
    save([calibrate(spec, table)], fits, "test")
    slow, usual = load_calibration(spec, fits), load_calibration(spec)
    work = roofline.workload("llama-3.1-8b", "prefill", 1, 4000)
    ratio = roofline.analyze(work, spec, slow).time_s / roofline.analyze(work, spec, usual).time_s
    assert 1.5 < ratio < 2.2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seconds": -1.0}, "line 2: seconds must be above 0"),
        ({"kernel": "gem"}, "kernel 'gem'"),
        ({"dtype": "fp7"}, "dtype 'fp7'"),
        ({"device": "nothing"}, "no 16-bit products of h100-sxm"),
    ],
)
def test_bad_tables(tmp_path: Path, change: dict[str, object], message: str) -> None:
    row: dict[str, object] = {"device": "h100-sxm", "kernel": "gemm", "dtype": "fp16", "m": 1}
    row |= {"n": 64, "k": 64, "seconds": 1e-5}
    path = tmp_path / "bad.csv"
    pd.DataFrame([row | change]).to_csv(path, index=False)
    with pytest.raises(RequestError, match=message):
        calibrate(load_hardware("h100-sxm"), path)
