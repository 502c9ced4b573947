"""What-ifs change the work as their papers say, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

import roofline
from quant.common.errors import RequestError
from roofline.workloads import transforms as t
from roofline.workloads.ops import FlashAttention, Linear
from roofline.workloads.scenarios import chunked_prefill, early_exit, speculative
from roofline.workloads.workload import Workload

LLAMA = "llama-3.1-8b"


def macs(work: Workload, part: str) -> float:
    return sum(op.macs for op in work.ops if part in op.name)


def test_half_the_heads() -> None:
    work = roofline.workload(LLAMA, "decode", 2, 1000)
    half = t.prune_heads(work, 0.5)
    assert macs(half, ".self_attn.") == macs(work, ".self_attn.") / 2
    assert macs(half, ".mlp.") == macs(work, ".mlp.")
    assert half.memory.kv_cache == work.memory.kv_cache / 2
    matrices = half.matrices
    assert matrices["model.layers.3.self_attn.q_proj"].out_features == 2048
    assert matrices["model.layers.3.self_attn.o_proj"].in_features == 2048


@pytest.mark.parametrize("model", [LLAMA, "mixtral-8x7b-v0.1", "opt-1.3b", "phi-4"])
def test_half_the_channels(model: str) -> None:
    work = roofline.workload(model, "prefill", 1, 64)
    half = t.prune_channels(work, 0.5)
    wide = [op for op in work.ops if isinstance(op.definition, Linear)]
    kept = {op.name: op.macs for op in half.ops}
    ratios = {op.name: kept[op.name] / op.macs for op in wide}
    inner = ("gate_proj", "up_proj", "down_proj", "gate_up_proj", "fc1", "fc2")
    for name, ratio in ratios.items():
        assert ratio == (0.5 if name.endswith(inner) else 1), name


def test_layers_are_dropped() -> None:
    work = roofline.workload(LLAMA, "decode", 1, 100)
    fewer = t.drop_layers(work, 0.25)
    assert len({t.layer_of(op) for op in fewer.template.ops}) == 24 + 1
    assert {0, 31} <= {t.layer_of(op) for op in fewer.template.ops}
    assert fewer.memory.kv_cache == work.memory.kv_cache * 24 / 32
    named = t.drop_layers(work, [3, 4])
    layer = sum(op.macs for op in work.ops if ".layers.3." in op.name)
    assert named.macs == work.macs - 2 * layer


def test_fewer_tokens_from_a_layer_on() -> None:
    work = roofline.workload(LLAMA, "prefill", 1, 1024)
    fewer = t.reduce_tokens(work, {16: 0.5})
    assert macs(fewer, ".layers.3.") == macs(work, ".layers.3.")
    assert macs(fewer, ".layers.20.mlp") == macs(work, ".layers.20.mlp") / 2
    assert fewer.memory.kv_cache == work.memory.kv_cache * 0.75
    step = roofline.workload(LLAMA, "decode", 1, 1024)
    after = t.reduce_tokens(step, {16: 0.5})
    assert macs(after, ".mlp.") == macs(step, ".mlp.")
    assert after.memory.kv_cache < step.memory.kv_cache


def test_linear_attention_has_no_growing_cache() -> None:
    short, long = (
        t.linearize_attention(roofline.workload(LLAMA, "decode", 1, n)) for n in (1000, 100_000)
    )
    assert short.macs == long.macs
    assert short.memory == long.memory
    full = roofline.workload(LLAMA, "decode", 1, 100_000)
    assert long.memory.kv_cache < full.memory.kv_cache / 50
    early = roofline.workload(LLAMA, "prefill", 1, 20_000)
    assert t.linearize_attention(early).macs < early.macs


def test_flat_products_are_padded() -> None:
    work = roofline.workload(LLAMA, "decode", 3, 100)
    name = "model.layers.0.mlp.up_proj"
    for multiple, rows in ((8, 8), (64, 64)):
        padded = t.pad_flat_products(work, multiple).linears[name]
        assert padded.macs == rows * 4096 * 14336
        assert padded.bytes == work.linears[name].bytes


def test_a_running_maximum_rescales() -> None:
    work = roofline.workload(LLAMA, "prefill", 1, 4096)
    kept = t.synchronize_softmax(work)
    extra = sum(op.ops for op in kept.ops) - sum(op.ops for op in work.ops)
    assert extra == pytest.approx(32 * 32 * 4096 * 4097 / 2 * 130 / 128 * 2)
    assert kept.bytes == work.bytes


def test_two_of_four_weights() -> None:
    work = roofline.workload("llama-2-7b", "decode", 1, 10)
    sparse = t.sparsify(work, 2, 4)
    name = "model.layers.9.mlp.up_proj"
    assert sparse.linears[name].macs == work.linears[name].macs / 2
    assert sparse.linears[name].weight_bytes == 4096 * 11008 / 2 * (16 + 2) / 8
    assert sparse.linears["lm_head"] == work.linears["lm_head"]


@pytest.mark.parametrize(
    "change",
    [
        lambda w: t.prune_heads(w, 0.0),
        lambda w: t.prune_channels(w, 0.0),
        lambda w: t.drop_layers(w, 0.0),
        lambda w: t.reduce_tokens(w, {0: 1.0}),
        lambda w: t.pad_flat_products(w, 1),
        lambda w: t.sparsify(w, 4, 4),
    ],
)
def test_nothing_asked_is_nothing_changed(change: Callable[[Workload], Workload]) -> None:
    for model in (LLAMA, "deepseek-v2-lite"):
        work = roofline.workload(model, "prefill", 2, 33)
        same = change(work)
        assert (same.macs, same.bytes, same.memory) == (work.macs, work.bytes, work.memory)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: t.prune_heads(w, 1.0), "ratio 1.0"),
        (lambda w: t.drop_layers(w, [99]), r"layers \[99\]"),
        (lambda w: t.reduce_tokens(w, {0: 0.5, 4: 0.7}), "do not grow"),
        (lambda w: t.sparsify(w, 5, 4), "5:4"),
        (lambda w: t.sparsify(w, 2, 4, "nothing.*"), "matches no matrix"),
        (lambda w: t.pad_flat_products(w, 0), "multiple 0"),
    ],
)
def test_bad_requests(change: Callable[[Workload], Workload], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        change(roofline.workload("smollm2-135m", "prefill", 1, 8))


def test_chunks_read_the_weights_again() -> None:
    whole = roofline.workload(LLAMA, "prefill", 1, 4096)
    chunks = chunked_prefill(LLAMA, 4096, 1000)
    assert [work.context for work, _ in chunks.parts] == [1000, 1000, 1000, 1000, 96]
    read = sum(op.weight_bytes for work, _ in chunks.parts for op in work.ops)
    assert read > 4.9 * sum(op.weight_bytes for op in whole.ops) * 0.9
    keys = [
        sum(op.macs for op in work.ops if isinstance(op.definition, FlashAttention))
        for work in (whole, *(work for work, _ in chunks.parts))
    ]
    assert sum(keys[1:]) == pytest.approx(keys[0])


def test_a_good_draft_pays() -> None:
    alone = roofline.analyze(roofline.workload("llama-3.1-70b", "decode", 1, 500), "b200-sxm")
    good = speculative("llama-3.1-70b", "llama-3.2-1b", 500, 4, 0.9)
    bad = speculative("llama-3.1-70b", "llama-3.2-1b", 500, 4, 0.0)
    assert good.tokens == pytest.approx(1 + 0.9 + 0.81 + 0.729 + 0.6561)
    assert bad.tokens == 1
    times = [roofline.analyze(r.scenario, "b200-sxm").time_s / r.tokens for r in (good, bad)]
    assert times[0] < alone.time_s < times[1]


def test_early_exit_is_a_mean() -> None:
    whole = roofline.analyze(roofline.workload(LLAMA, "decode", 1, 100), "h100-sxm").time_s
    exits = early_exit(LLAMA, {8: 0.5}, 100)
    early = roofline.analyze(exits, "h100-sxm").time_s
    quarter = roofline.analyze(exits.parts[0][0], "h100-sxm").time_s
    assert early == pytest.approx(0.5 * whole + 0.5 * quarter)
    with pytest.raises(RequestError, match="layers 1 to 32"):
        early_exit(LLAMA, {40: 0.5}, 100)
