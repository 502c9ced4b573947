"""Every field of every case that LLM-Viewer itself computed, to 1e-9."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest

from quant.common.errors import RequestError
from roofline.compat.llm_viewer import Version, analyze, device_names, generate_time
from roofline.workloads.models import load_config

GOLDEN = json.loads((Path(__file__).parents[2] / "golden/llm_viewer.json").read_text())
VERSIONS = get_args(Version)
CASES = [(version, case) for version in VERSIONS for case in GOLDEN[version]["cases"]]
TASKS = [(version, case) for version in VERSIONS for case in GOLDEN[version]["generate_task"]]
# The golden file has ten digits of what is not a whole number.
TOLERANCE = 1e-9


def name(value: object) -> str | None:
    if isinstance(value, dict):
        return "-".join(str(v) for v in value.values() if isinstance(v, str | int))
    return str(value)


@pytest.mark.parametrize(("version", "case"), CASES, ids=name)
def test_every_field(version: Version, case: dict[str, Any]) -> None:
    config = load_config(case["model"])[1]
    bits = (case["w"], case["a"], case["kv"])
    sizes = (case["batch"], case["seqlen"])
    tp = case.get("tp", 1)
    result = analyze(config, case["hw"], *sizes, *bits, bool(case["flash"]), tp, version)
    for phase in ("prefill", "decode"):
        got = getattr(result, phase)
        assert [op.name for op in got.ops] == list(case[phase])
        for op in got.ops:
            fields = {"memory": "m", "compute": "c"}
            values = [fields.get(v, v) for v in op[1:]]
            for column, ours, theirs in zip(
                GOLDEN["cols"], values, case[phase][op.name], strict=True
            ):
                same = ours == theirs or ours == pytest.approx(theirs, rel=TOLERANCE)
                assert same, (phase, op.name, column, ours, theirs)
        assert got.total == pytest.approx(case[f"{phase}_total"], rel=TOLERANCE)


@pytest.mark.parametrize(("version", "case"), TASKS, ids=name)
def test_generation(version: Version, case: dict[str, Any]) -> None:
    config = load_config(case["model"])[1]
    sizes = (case["prompt_len"], case["gen_len"], case["batch"])
    got = generate_time(config, case["hw"], *sizes, flash=case.get("flash", False), version=version)
    assert got == pytest.approx(case["inference_time"], rel=TOLERANCE)


def test_all_their_families_run() -> None:
    for model in ("chatglm3-6b", "gpt-j-6b", "opt-6.7b"):
        result = analyze(load_config(model)[1], "nvidia_A6000", 2, 64, flash=True)
        assert result.prefill.total["OPs"] > result.decode.total["OPs"] > 0
    names = [op.name for op in analyze(load_config("gpt-j-6b")[1], "nvidia_A40", 1, 8).decode.ops]
    assert "gate_proj" not in names
    assert "mlp_norm" not in names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"device": "nvidia_H100_SMX"}, "nearest: nvidia_H100_SXM"),
        ({"batch": 0}, "batch 0"),
        ({"seqlen": -4}, "seqlen -4"),
        ({"w_bit": 0}, "w_bit 0"),
        ({"tp": 2}, "no tensor parallelism"),
        ({"tp": 3, "version": "pr27"}, "tp 3 does not divide hidden"),
        ({"device": "intel_13900k", "w_bit": 8, "a_bit": 8}, "no INT8 peak"),
        ({"config": {"hidden_size": 64}}, "num_attention_heads is missing"),
        ({"config": {"hidden_size": 64, "num_attention_heads": "x"}}, "num_attention_heads = 'x'"),
        ({"version": "dev"}, "unknown version 'dev'"),
    ],
)
def test_bad_requests(changes: dict[str, Any], message: str) -> None:
    config = load_config("llama-2-7b")[1]
    request: dict[str, Any] = {
        "config": config,
        "device": "nvidia_A6000",
        "batch": 1,
        "seqlen": 8,
    } | changes
    with pytest.raises(RequestError, match=message):
        analyze(**request)


def test_the_prefill_of_one_token_still_counts_queries_with_kv_heads() -> None:
    result = analyze(load_config("llama-2-70b")[1], "nvidia_A6000", 1, 1)
    prefill, decode = ({op.name: op for op in p.ops} for p in (result.prefill, result.decode))
    assert 8 * prefill["qk_matmul"].load_act == decode["qk_matmul"].load_act
    assert "nvidia_A6000" in device_names("pr27")
