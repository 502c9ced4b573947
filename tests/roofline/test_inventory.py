"""One list of matrices: roofline's ops and quant's modules, family by family; plans of experts."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import roofline
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from quant.layers.weights import inventory as modules_of
from quant.layers.weights import weights
from quant.plan import assign
from roofline.workloads.inventory import ROUTER
from roofline.workloads.ops import Experts
from roofline.workloads.planned import inventory, unplanned
from tests.docs.commands import run_command

USUAL = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 96, "vocab_size": 160, "bos_token_id": 1, "eos_token_id": 2,
    "pad_token_id": 0, "head_dim": 16,
}  # fmt: skip
ALIKE = {
    key: value
    for key, value in USUAL.items()
    if key not in ("head_dim", "num_key_value_heads", "intermediate_size")
}
FALCON = {**ALIKE, "alibi": False, "bias": False}
NO_WIDTH = {key: value for key, value in USUAL.items() if key != "head_dim"}
GPT = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 160, "bos_token_id": 1,
       "eos_token_id": 2, "n_positions": 64}  # fmt: skip
ROUTED = {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
LATENT = {
    **NO_WIDTH, "num_key_value_heads": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "moe_intermediate_size": 32, "n_shared_experts": 1, "first_k_dense_replace": 1,
    "q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8,
    "v_head_dim": 16, "n_group": 1, "topk_group": 1,
}  # fmt: skip
DELTA = {
    "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16,
    "linear_value_head_dim": 16, "linear_conv_kernel_dim": 4,
    "layer_types": ["linear_attention", "full_attention"],
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": USUAL,
    "mistral": USUAL,
    "qwen2": NO_WIDTH,
    "qwen3": USUAL,
    "gemma2": USUAL,
    "gemma3_text": USUAL,
    "gemma4_text": {**USUAL, "global_head_dim": 16, "hidden_size_per_layer_input": 0},
    "gpt2": GPT,
    "gptj": {**GPT, "rotary_dim": 8},
    "opt": {**ALIKE, "ffn_dim": 96, "word_embed_proj_dim": 64},
    "falcon": {**FALCON, "multi_query": True, "new_decoder_architecture": False},
    "falcon new": {**FALCON, "new_decoder_architecture": True, "num_kv_heads": 2},
    "phi": NO_WIDTH,
    "phi3": NO_WIDTH,
    "mixtral": {**USUAL, **ROUTED},
    "qwen3_moe": {**USUAL, **ROUTED, "moe_intermediate_size": 32},
    "gpt_oss": {**USUAL, **ROUTED},
    "minimax_m2": {**USUAL, **ROUTED},
    "deepseek_v2": LATENT,
    "deepseek_v3": LATENT,
    "deepseek_v32": {**LATENT, "index_n_heads": 2, "index_head_dim": 16, "index_topk": 8},
    "llama4_text": {
        **USUAL, **ROUTED, "num_experts_per_tok": 1, "intermediate_size": 32,
        "intermediate_size_mlp": 96, "interleave_moe_layer_step": 2, "attention_chunk_size": 32,
    },
    "qwen3_5_text": {**USUAL, **DELTA},
    "qwen3_5_moe_text": {
        **USUAL, **DELTA, **ROUTED, "moe_intermediate_size": 32,
        "shared_expert_intermediate_size": 32,
    },
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2, "vocab_size": 160, "state_size": 8},
}  # fmt: skip
STACK = "model.layers.0.mlp.experts.gate_up_proj"
INT4, INT8, FP16 = (parse_spec(text) for text in ("int4", "int8", "fp16"))


def config_of(family: str) -> Any:  # noqa: ANN401  transformers has no types
    return CONFIG_MAPPING[family.partition(" ")[0]](**FAMILIES[family])


def model_of(family: str) -> torch.nn.Module:
    with torch.device("meta"):
        model: torch.nn.Module = AutoModelForCausalLM.from_config(config_of(family))
    return model


@pytest.mark.parametrize("family", FAMILIES)
def test_quant_and_roofline_have_the_same_list(family: str) -> None:
    model, config = model_of(family), config_of(family).to_dict()
    known = modules_of(model)
    ours = inventory(config)
    assert {path: matrix.shape for path, matrix in ours.items()} == {
        path: weight.shape for path, weight in known.weights.items()
    }
    assert {path for path, matrix in ours.items() if matrix.apart} == known.apart
    # In decode MLA multiplies by the halves of a matrix; routers are what quant calls so.
    decode = roofline.workload(config, "decode").inventory
    assert {path: m.shape for path, m in decode.items()} == {p: m.shape for p, m in ours.items()}
    routers = {
        name.removesuffix(".weight"): tuple(other.parameter.shape)
        for name, other in known.others.items()
        if other.why == ROUTER
    }
    left = unplanned(config, dict.fromkeys(ours, "int4"))
    assert {path: matrix.shape for path, matrix in left.items()} == routers


@pytest.mark.parametrize("family", ["llama", "mixtral", "deepseek_v3", "llama4_text", "mamba"])
@pytest.mark.parametrize("plan", [{"*": "int4"}, {"*": "int4", "lm_head": "int8"}])
def test_a_plan_means_the_same_matrices(family: str, plan: dict[str, str]) -> None:
    model, config = model_of(family), config_of(family).to_dict()
    known = modules_of(model)
    given = assign(plan, known.weights, known.apart)
    for phase in ("prefill", "decode"):
        work = roofline.workload(config, phase, plan=plan)
        found = {path: op.weights for op in work.template.ops for path in op.paths}
        assert {path: spec for path, spec in found.items() if spec != FP16} == given
        assert work == roofline.workload(config, phase).with_weights(given)
    left = unplanned(config, plan)
    assert left.keys() == known.weights.keys() - given.keys() | {
        path for path, matrix in left.items() if matrix.apart == ROUTER
    }


def test_experts_of_different_formats_are_parts_whose_bytes_add_up() -> None:
    config = config_of("mixtral").to_dict()
    plain = roofline.workload(config, "decode", 3, 50)
    plan = {"*": "int4", f"{STACK}[1]": "int8", f"{STACK}[3]": "fp16"}
    work = roofline.workload(config, "decode", 3, 50, plan=plan)
    parts = [op for op in work.ops if op.name.startswith(STACK)]
    assert [(op.name, op.weights) for op in parts] == [
        (f"{STACK}[0,2]", INT4),
        (f"{STACK}[1]", INT8),
        (f"{STACK}[3]", FP16),
    ]
    each = {spec: spec.storage_bits(192, 64) / 8 for spec in (INT4, INT8, FP16)}
    one = next(op for op in plain.template.ops if op.name == STACK)
    assert isinstance(one, Experts)
    used = one.used.at(plain.step)
    mean = (2 * each[INT4] + each[INT8] + each[FP16]) / 4
    assert sum(op.weight_bytes for op in parts) == pytest.approx(used * mean, rel=1e-12)
    whole = next(op for op in plain.ops if op.name == STACK)
    for name in ("macs", "input_bytes", "output_bytes"):
        assert sum(getattr(op, name) for op in parts) == getattr(whole, name)
    stored = sum(op.definition.stored_bytes for op in parts)
    assert stored == 2 * each[INT4] + each[INT8] + each[FP16]
    assert work.macs == plain.macs
    again = work.with_weights({f"{STACK}[0]": INT8})
    split = [op for op in again.template.ops if op.name.startswith(STACK)]
    assert {path: op.weights for op in split for path in op.paths} == {
        f"{STACK}[0]": INT8,
        f"{STACK}[1]": INT8,
        f"{STACK}[2]": INT4,
        f"{STACK}[3]": FP16,
    }


def test_a_stack_by_its_path_means_all_its_experts() -> None:
    config = config_of("mixtral").to_dict()
    work = roofline.workload(config, plan={STACK: "int4", f"{STACK}[2]": "int8"})
    found = {path: op.weights for op in work.template.ops for path in op.paths}
    assert [found[f"{STACK}[{i}]"] for i in range(4)] == [INT4, INT4, INT8, INT4]
    uniform = roofline.workload(config, plan={STACK: "int4"})
    assert uniform == roofline.workload(config, plan={f"{STACK}[*]": "int4"})
    assert next(op for op in uniform.template.ops if op.name == STACK).weights == INT4


def test_experts_on_several_devices_have_one_format() -> None:
    config = config_of("mixtral").to_dict()
    work = roofline.workload(config, plan={"*.experts.*": "int4"}, ep=2)
    assert work.inventory.keys() == inventory(config).keys()
    with pytest.raises(RequestError, match=r"experts of different formats: ep of 1"):
        roofline.workload(config, plan={f"{STACK}[1]": "int4"}, ep=2)


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({f"{STACK}[4]": "int4"}, r"unknown layer 'model.layers.0.mlp.experts.gate_up_proj\[4\]'"),
        ({"model.layers.0.mlp.gate": "int4"}, r"unknown layer 'model.layers.0.mlp.gate'"),
        ({"*.gate_up_proj": "int4"}, r"unknown layer '\*.gate_up_proj'"),
        ({"model.norm": "int4"}, r"unknown layer 'model.norm'"),
        ({"model.vision_tower.conv": "int4"}, r"unknown layer 'model.vision_tower.conv'"),
    ],
)
def test_what_means_no_matrix_is_named(plan: dict[str, str], message: str) -> None:
    config = config_of("mixtral").to_dict()
    with pytest.raises(RequestError, match=message):
        roofline.workload(config, plan=plan)
    with pytest.raises(RequestError, match=message):
        roofline.workload(config).with_weights({p: parse_spec(t) for p, t in plan.items()})
    with pytest.raises(RequestError, match=r"unknown layer"):  # as quant says
        assign(plan, weights(model_of("mixtral")))


def test_a_model_of_text_and_images_is_named_as_a_whole_or_as_text() -> None:
    config = {"model_type": "gemma3", "text_config": config_of("gemma3_text").to_dict()}
    inner = "model.layers.1.mlp.up_proj"
    whole = inner.replace("model.", "model.language_model.")
    one = roofline.workload(config, plan={whole: "int4", "model.vision_tower.*": "int8"})
    assert one == roofline.workload(config, plan={inner: "int4"})
    assert one.linears[inner].weights == INT4


def test_embeddings_are_named_but_not_meant() -> None:
    plan = {"model.embed_tokens": "int8"}
    config = config_of("llama").to_dict()
    named = roofline.workload(config, plan=plan)
    meant = roofline.workload(config, plan={"*": "int4"})
    formats = [work.template.ops[0].weights for work in (named, meant)]
    assert formats == [INT8, FP16]
    assert named.memory.weights < roofline.workload(config).memory.weights


@pytest.mark.parametrize(
    "words",
    ["report smollm2-135m h100-sxm", "sweep smollm2-135m h100-sxm", "serve smollm2-135m h100-sxm"],
)
def test_commands_say_what_a_plan_leaves(words: str, tmp_path: Path) -> None:
    plan = tmp_path / "down.toml"
    plan.write_text('schema = "plan/1"\n[layers]\n"*.down_proj" = "int4"\n', encoding="utf-8")
    layers = 30 * (576 * 576 * 2 + 576 * 192 * 2 + 576 * 1536 * 2)
    line = [*shlex.split(f"roofline {words}"), "--plan", str(plan)]
    said = run_command([*line, "--weights", "int8"], tmp_path)
    assert f"{layers:,} (layers, as int8)" in " ".join(said.split())
    content = json.loads(run_command([*line, "--output", "json"], tmp_path))
    assert f"{layers:,} (layers, as fp16)" in content["rest"]
    assert "28,311,552 (head, as fp16)" in content["rest"]
