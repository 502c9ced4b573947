"""Workloads count what is there; bounds, reports and bad requests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from quant.common.errors import RequestError
from roofline.workloads.models import config_text, load_config
from roofline.workloads.template import parameters

# Published totals (model cards; tied embeddings once).
PARAMETERS = {
    "smollm2-135m": 134_515_008,
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "tinyllama-1.1b": 1_100_048_384,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "smollm2-360m": 361_821_120,
    "smollm2-1.7b": 1_711_376_384,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_equal_the_published(name: str) -> None:
    assert parameters(*config_text(name)) == PARAMETERS[name]


def test_weights_in_memory_are_the_parameters() -> None:
    for name in ("smollm2-135m", "llama-2-7b"):
        memory = roofline.workload(name, "decode", 1, 0).memory
        assert memory.weights == 2 * PARAMETERS[name]


def test_a_tied_head_in_another_format_is_stored_beside_the_embeddings() -> None:
    tied = roofline.workload("smollm2-135m").memory.weights
    own = roofline.workload("smollm2-135m", head="int8:g128:int8").memory.weights
    head = roofline.workload("smollm2-135m", head="int8:g128:int8").linears["lm_head"]
    assert own - tied == head.weight_bytes


def test_llama_7b_by_hand() -> None:
    work = roofline.workload("llama-2-7b", "prefill", 1, 128)
    q = work.linears["model.layers.3.self_attn.q_proj"]
    # LLM-Viewer, main 472f71f, A6000, batch 1, sequence 128: q_proj of Llama-2-7b.
    assert (q.ops, q.weight_bytes) == (4294967296, 33554432)
    assert (q.input_bytes, q.output_bytes) == (1048576, 1048576)
    k = work.linears["model.layers.3.self_attn.k_proj"]
    assert (k.output_bytes, k.kv_bytes, k.bytes) == (0, 1048576, 35651584)
    linear = 32 * (4 * 4096**2 + 3 * 4096 * 11008) * 128 + 4096 * 32000
    attention = 32 * 2 * 4096 * (128 * 129 // 2)
    assert work.macs == linear + attention


def test_gqa_reads_each_kv_head_once() -> None:
    work = roofline.workload("smollm2-135m", "decode", 2, 99, flash=False)
    scores = next(op for op in work.ops if op.op == "AttentionScores")
    assert scores.kv_bytes == 2 * 100 * 3 * 64 * 2
    assert scores.macs == 2 * 9 * 64 * 100
    assert work.memory.kv_cache == 30 * 2 * scores.kv_bytes


def test_scales_and_selectors_are_bytes() -> None:
    work = roofline.workload("smollm2-135m", weights="bitmod3:g128:int8")
    q = work.linears["model.layers.0.self_attn.q_proj"]
    assert q.weight_bytes == 576 * (576 * 3 + 5 * (8 + 2) + 16) / 8


def test_prefill_of_one_is_decode_of_none() -> None:
    one = roofline.workload("smollm2-135m", "prefill", 3, 1)
    none = roofline.workload("smollm2-135m", "decode", 3, 0)
    assert (one.macs, one.bytes, one.memory) == (none.macs, none.bytes, none.memory)


def test_a_scenario_is_the_sum_of_its_steps() -> None:
    whole = roofline.analyze(roofline.scenario("smollm2-135m", 16, 3), "h100-sxm").time_s
    parts = [roofline.workload("smollm2-135m", "prefill", 1, 16)]
    parts += [roofline.workload("smollm2-135m", "decode", 1, 16 + i) for i in range(3)]
    assert whole == pytest.approx(sum(roofline.analyze(p, "h100-sxm").time_s for p in parts))


def test_with_weights_is_the_plan() -> None:
    from quant.formats.spec import parse_spec

    plan = {"model.layers.4.mlp.up_proj": "bitmod4:g128:int8"}
    planned = roofline.workload("smollm2-135m", plan=plan)
    changed = roofline.workload("smollm2-135m").with_weights(
        {path: parse_spec(text) for path, text in plan.items()}
    )
    assert planned == changed


def test_bounds_of_llama_7b() -> None:
    decode = roofline.analyze(roofline.workload("llama-2-7b", "decode", 1, 2048), "h100-sxm")
    assert decode.bound_share()["memory"] > 0.999
    weights = 2 * (PARAMETERS["llama-2-7b"] - 32000 * 4096)
    cache = 32 * 2 * 2049 * 4096 * 2
    assert decode.time_s == pytest.approx((weights + cache) / 3350e9, rel=0.01)
    prefill = roofline.analyze(roofline.workload("llama-2-7b", "prefill", 1, 2048), "a100-80g")
    linear = [op for op in prefill.ops if op.op.op == "Linear" and "layers" in op.op.name]
    assert {op.bound for op in linear} == {"compute"}
    assert decode.fits
    assert not roofline.analyze(roofline.workload("llama-2-70b"), "a100-80g").fits


def test_integer_peaks_need_integer_operands() -> None:
    spec = roofline.load_hardware("a100-80g")
    from quant.formats.spec import parse_spec as f

    assert spec.peak(f("bitmod3"), f("fp16")) == 312e12
    assert spec.peak(f("int8"), f("int8")) == 624e12
    assert spec.peak(f("int4"), f("int8")) == 624e12
    assert spec.peak(f("int4"), f("int4")) == 1248e12
    assert roofline.load_hardware("h100-sxm").peak(f("int4"), f("int4")) == 1978.9e12


@given(st.integers(1, 300), st.integers(1, 8), st.sampled_from(["prefill", "decode"]))
@settings(max_examples=25, deadline=None)
def test_more_tokens_never_take_less_time(context: int, batch: int, phase: str) -> None:
    small = roofline.workload("smollm2-135m", phase, batch, context)  # type: ignore[arg-type]
    large = roofline.workload("smollm2-135m", phase, batch + 1, context + 1)  # type: ignore[arg-type]
    assert roofline.analyze(large, "h100-sxm").time_s > roofline.analyze(small, "h100-sxm").time_s


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hidden_size": -1}, "hidden_size = -1"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_key_value_heads": 2}, "cannot share 2"),
        ({"num_attention_heads": 7, "num_key_value_heads": 7}, "7 does not divide 576"),
        ({"model_type": "lama"}, "nearest: llama"),
    ],
)
def test_bad_configs(changes: dict[str, object], message: str) -> None:
    config = load_config("smollm2-135m")[1]
    with pytest.raises(RequestError, match=message):
        roofline.workload(config | changes)


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    code = "from roofline.cli import main; main()"
    line = [sys.executable, "-c", code, *arguments]
    return subprocess.run(line, capture_output=True, text=True, check=False)


def test_json_report() -> None:
    done = command("report", "smollm2-135m", "h100-sxm", "--weights", "4", "--output", "json")
    content = json.loads(done.stdout)
    assert content["schema"] == "roofline.report/1"
    assert content["time_s"] == pytest.approx(sum(op["time_s"] for op in content["ops"]))
    keys = {"name", "op", "count", "macs", "ops", "weight_bytes", "activation_bytes", "kv_bytes"}
    keys |= {"bytes", "arithmetic_intensity", "bound", "time_s"}
    assert all(set(op) == keys for op in content["ops"])
    assert content["memory_bytes"]["total"] > content["memory_bytes"]["weights"]


def test_table_csv_and_figure(tmp_path: Path) -> None:
    plot, table = tmp_path / "roof.svg", tmp_path / "report.csv"
    for path in (plot, table):
        done = command("report", "smollm2-135m", "a100-80g", "-o", str(path))
        assert done.returncode == 0, done.stderr
    assert table.read_text().startswith("name,op,macs")
    assert "</svg>" in plot.read_text()
    assert "memory bound" in command("report", "smollm2-135m", "a100-80g").stdout


def test_other_commands(tmp_path: Path) -> None:
    done = command("serve", "llama-3.1-8b", "h100-sxm", "--batch", "8", "--output", "json")
    content = json.loads(done.stdout)
    assert content["schema"] == "roofline.serve/2"
    assert content["tpot_s"] > content["decode_s"] > 0
    done = command("compare", "llama-2-7b", "h100-sxm", "a100-80g", "--output", "json")
    rows = json.loads(done.stdout)["rows"]
    assert [row["hardware"] for row in rows] == ["h100-sxm", "a100-80g"]
    assert rows[1]["speedup"] == pytest.approx(2039 / 3350, rel=0.01)
    table = tmp_path / "sweep.csv"
    command("sweep", "smollm2-135m", "h100-sxm", "--batch", "1:4", "-o", str(table))
    assert len(table.read_text().splitlines()) == 5
    names = command("list", "hardware", "h100").stdout.split()
    assert names == ["h100-nvl", "h100-pcie", "h100-sxm"]


def test_llm_viewers_numbers_on_the_command_line() -> None:
    request = ["report", "llama-2-7b", "nvidia_A6000", "--compat", "llm-viewer", "--context", "128"]
    done = command(*request, "--weights", "4", "--flash", "--output", "json")
    content = json.loads(done.stdout)
    q = next(op for op in content["ops"] if op["name"] == "q_proj")
    # LLM-Viewer, main 472f71f: Llama-2-7b, A6000, batch 1, sequence 128, 4-bit weights.
    assert (q["OPs"], q["load_weight"], q["load_act"]) == (4294967296, 8388608, 1048576)
    assert (q["store_act"], q["load_kv_cache"], q["store_kv_cache"]) == (1048576, 0, 0)
    assert content["schema"] == "roofline.report/1"
    assert content["llm_viewer"]["inference_time"] == content["time_s"]


def test_markdown_and_warnings() -> None:
    request = ["report", "gpt2", "h100-sxm", "--context", "4096", "--output", "md"]
    done = command(*request, "--calibrated")
    assert "gpt2 is made for 1024" in done.stderr
    assert "| module | n |" in done.stdout
    assert "expected error" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["report", "smollm2-135m", "h100-sxm", "--compat", "genz"],
            "'genz' is not one of 'llm-viewer'",
        ),
        (["report", "smollm2-135m", "h100-sxm", "--tp", "2"], "2 devices do not divide heads = 9"),
        (["report", "smollm2-135m", "h100-sxm", "--output", "html", "--pp", "2"], "pp '2'"),
        (["sweep", "smollm2-135m", "h100-sxm", "--batch", "4:1"], "batch '4:1'"),
        (
            ["serve", "smollm2-135m", "h100-sxm", "--generate", "0"],
            "'--generate': Input should be greater than or equal to 1, not '0'",
        ),
        (["list", "hardware", "zzz"], "no hardware with 'zzz'"),
        (["report", "smolm2-135m", "h100-sxm"], "nearest: smollm2-135m"),
        (["report", "smollm2-135m", "h100"], "nearest: h100-sxm"),
        (["report", "smollm2-135m", "h100-sxm", "--weights", "int44"], "nearest: int4"),
        (
            ["report", "smollm2-135m", "h100-sxm", "--batch", "-3"],
            "'--batch': Input should be greater than or equal to 1, not '-3'",
        ),
        (["report", "smollm2-135m", "/nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_requests_exit_with_2(arguments: list[str], message: str) -> None:
    done = command(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
