"""Every published config builds; parameters and shapes equal the published models'."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import roofline
from quant.common.errors import RequestError
from roofline.workloads.models import config_text, load_config
from roofline.workloads.ops import Experts, FlashAttention, Linear
from roofline.workloads.template import parameters
from roofline.workloads.workload import Phase

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden/model_parameters.json").read_text()
)["models"]
# The published totals count the routers' score corrections, which transformers keeps as buffers.
CORRECTED = {"deepseek-v3": 58 * 256, "deepseek-v3.2": 58 * 256, "kimi-k2-instruct": 60 * 384}
PUBLISHED = {name: entry["published"] for name, entry in GOLDEN.items() if entry["published"]}
# Parameters and GMACs at 224 x 224, as published: torchvision's ResNet-50 and ViT-B/16, the package
# efficientnet_lite_pytorch, the hub's BERT and MiniLM (sum over their files).
ENCODERS = {
    "bert-base-uncased": 109_482_240,
    "all-minilm-l6-v2": 22_713_216,
    "vit-base-patch16-224": 86_567_656,
    "resnet-50": 25_557_032,
    "efficientnet-lite0": 4_652_008,
}
GMACS = {"vit-base-patch16-224": 17.56, "resnet-50": 4.089, "efficientnet-lite0": 0.385}
GENERATING = [name for name in roofline.model_names() if name not in ENCODERS]
LATENT = {"deepseek-v2", "deepseek-v2-lite", "deepseek-v3", "deepseek-v3.2", "kimi-k2-instruct"}


def test_all_published_counts_are_there() -> None:
    assert len(PUBLISHED) == 41
    assert set(GOLDEN) <= set(roofline.model_names())


@pytest.mark.parametrize("name", PUBLISHED)
def test_parameters_equal_the_published(name: str) -> None:
    assert parameters(*config_text(name)) == PUBLISHED[name]


@pytest.mark.parametrize("name", [name for name in GOLDEN if "transformers" in GOLDEN[name]])
def test_parameters_and_shapes_equal_transformers(name: str) -> None:
    assert parameters(*config_text(name)) - CORRECTED.get(name, 0) == GOLDEN[name]["transformers"]
    shapes = GOLDEN[name]["shapes"]
    work = roofline.workload(name, "prefill", 1, 8)
    matrices = [op for op in work.matrices.values() if not op.tied]
    assert matrices
    for op in matrices:
        role = re.sub(r"\.\d+(?=\.)", ".*", op.name)
        role = role if role in shapes else f"{role}.weight"
        experts = [op.experts] if isinstance(op, Experts) else []
        size = [op.out_features, op.in_features]
        assert [*experts, *size] in shapes[role] or [*experts, *size[::-1]] in shapes[role], role


@pytest.mark.parametrize("name", GENERATING)
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_every_config_builds_and_has_a_bound(name: str, phase: Phase) -> None:
    work = roofline.workload(name, phase, 2, 300)
    analysis = roofline.analyze(work, "h100-sxm")
    assert analysis.time_s > 0
    assert work.memory.kv_cache > 0
    assert sum(op.macs for op in work.ops) == pytest.approx(work.macs)


@pytest.mark.parametrize("name", GENERATING)
def test_prefill_of_one_is_decode_of_none(name: str) -> None:
    absorb = name in LATENT
    one = roofline.workload(name, "prefill", 3, 1, absorb=absorb)
    none = roofline.workload(name, "decode", 3, 0, absorb=absorb)
    assert (one.macs, one.bytes, one.memory) == (none.macs, none.bytes, none.memory)


@pytest.mark.parametrize(
    "name", ["llama-3.1-8b", "mistral-7b-v0.1", "gemma-3-1b-it", "gpt-oss-20b"]
)
def test_chunks_of_a_prompt_add_up_to_the_prompt(name: str) -> None:
    whole = roofline.workload(name, "prefill", 2, 9000)
    chunks = [roofline.workload(name, "prefill", 2, 3000, past=n) for n in (0, 3000, 6000)]
    heads = 2 * roofline.workload(name, "prefill", 2, 1).linears["lm_head"].macs
    assert sum(chunk.macs for chunk in chunks) - heads == pytest.approx(whole.macs, rel=1e-12)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_and_image_models(name: str) -> None:
    assert parameters(*config_text(name)) == ENCODERS[name]
    work = roofline.workload(name, "prefill", 1, 128)
    assert work.memory.kv_cache == 0
    assert work.memory.weights == 2 * ENCODERS[name]
    if name in GMACS:
        assert work.macs == pytest.approx(GMACS[name] * 1e9, rel=1e-3)
        assert roofline.workload(name, "prefill", 1, 999).macs == work.macs
        assert roofline.workload(name, "prefill", 8, 1).macs == 8 * work.macs
    with pytest.raises(RequestError, match="generates nothing"):
        roofline.workload(name, "decode", 1, 128)


def test_windows_bound_the_cache_and_the_work() -> None:
    short = roofline.workload("mistral-7b-v0.1", "decode", 1, 4096)
    long = roofline.workload("mistral-7b-v0.1", "decode", 1, 30000)
    assert long.macs == short.macs
    assert long.memory == short.memory
    full = roofline.workload("llama-2-7b", "decode", 1, 30000)
    assert full.macs > roofline.workload("llama-2-7b", "decode", 1, 4096).macs


def test_interleaved_windows() -> None:
    work = roofline.workload("gemma-3-1b-it", "decode", 1, 8000)
    pairs = [op.macs for op in work.ops if isinstance(op.definition, FlashAttention)]
    full = [i for i, macs in enumerate(pairs) if macs == max(pairs)]
    assert full == [5, 11, 17, 23]
    assert max(pairs) / min(pairs) == 8001 / 512


def test_experts_are_read_as_tokens_choose_them() -> None:
    one = roofline.workload("mixtral-8x7b-v0.1", "decode", 1, 100)
    many = roofline.workload("mixtral-8x7b-v0.1", "decode", 512, 100)
    path = "model.layers.0.mlp.experts.down_proj"
    each = 4096 * 14336 * 2
    assert one.linears[path].weight_bytes == pytest.approx(2 * each)
    assert many.linears[path].weight_bytes == pytest.approx(8 * each)
    assert many.linears[path].macs == 512 * 2 * 4096 * 14336
    assert one.memory.weights == 2 * PUBLISHED["mixtral-8x7b-v0.1"]


def test_latents_are_the_cache_of_mla() -> None:
    work = roofline.workload("deepseek-v3", "decode", 4, 999)
    assert work.memory.kv_cache == 61 * 4 * 1000 * (512 + 64) * 2
    attention = next(op for op in work.ops if op.op == "FlashAttention")
    assert attention.kv_bytes == 4 * 1000 * 576 * 2
    assert attention.macs == 4 * 1000 * 128 * (576 + 512)
    expanded = roofline.workload("deepseek-v3", "decode", 4, 999, absorb=False)
    assert expanded.macs > work.macs


def test_a_state_does_not_grow() -> None:
    short = roofline.workload("mamba-2.8b", "decode", 1, 10)
    assert roofline.workload("mamba-2.8b", "decode", 1, 10**6).memory == short.memory
    state = 64 * 5120 * (16 * 4 + 3 * 2)
    assert short.memory.kv_cache == state


def test_devices_share_a_layer() -> None:
    one = roofline.workload("llama-3.1-70b", "decode", 8, 1000)
    four = roofline.workload("llama-3.1-70b", "decode", 8, 1000, tp=4)
    matrices = [op for op in four.template.ops if isinstance(op, Linear)]
    whole = [op for op in one.template.ops if isinstance(op, Linear)]
    assert 4 * sum(op.parameters for op in matrices) == sum(op.parameters for op in whole)
    assert 4 * four.memory.kv_cache == one.memory.kv_cache
    sums = [op for op in four.ops if op.op == "AllReduce"]
    assert len(sums) == 2 * 80
    assert sums[0].link_bytes == 8 * 8192 * 2 * 2 * 3 / 4


@pytest.mark.parametrize(
    ("changes", "messages"),
    [
        ({"hidden_size": None, "vocab_size": 0, "num_hidden_layers": -2}, 3),
        ({"hidden_size": 1 << 40}, 1),
        ({"num_hidden_layers": 10**6}, 1),
        ({"intermediate_size": True}, 1),
        ({"tie_word_embeddings": "yes"}, 1),
        ({"head_dim": 1.5}, 1),
    ],
)
def test_all_faults_of_a_config_at_once(changes: dict[str, object], messages: int) -> None:
    config = load_config("llama-2-7b")[1] | changes
    with pytest.raises(RequestError) as caught:
        roofline.workload(config)
    text = str(caught.value)
    assert "\n" not in text
    for key in changes:
        assert key in text
    assert text.count(";") >= messages - 1


def test_hub_ids_name_built_in_models() -> None:
    by_id = roofline.workload("Meta-Llama/Llama-2-7B-hf", "decode", 1, 1)
    assert by_id.model == "llama-2-7b"
    with pytest.raises(RequestError, match="divide heads = 9"):
        roofline.workload("smollm2-135m", tp=2)


def test_a_hub_id_without_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(RequestError, match=r"nobody/nothing") as caught:
        roofline.workload("nobody/nothing-1b")
    assert "\n" not in str(caught.value)
