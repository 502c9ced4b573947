"""A checkpoint that is exported to compressed-tensors gives transformers the same weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import quant
from quant.cli import main
from quant.common.errors import RequestError
from quant.models.calibration import CalibrationText
from tests.own.tiny_llama import tiny_llama
from tests.quant.tiny import EXPERTS, tiny, tokens

SIZES: dict[str, dict[str, Any]] = {
    "mixtral": {"num_local_experts": 4}, "qwen3_moe": EXPERTS, "gemma3_text": {"head_dim": 8},
    "llama4_text": {"num_local_experts": 2, "intermediate_size_mlp": 32},
}  # fmt: skip


def checkpoint(folder: Path, family: str, formats: object, **changes: object) -> nn.Module:
    """A quantized model, which is written to a folder too."""
    model: nn.Module = tiny(family, **{**SIZES.get(family, {}), **changes})
    quant.quantize_model(model, formats)  # type: ignore[arg-type]  # a table of texts
    quant.save_model(folder, model)
    return model


def logits(model: Any) -> torch.Tensor:  # noqa: ANN401  transformers'
    with torch.no_grad():
        found: torch.Tensor = model(tokens()).logits
        return found


def loaded(folder: Path, *, dense: bool) -> Any:  # noqa: ANN401  transformers'
    """The library's loading by transformers; every tensor in its place."""
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig

    model, info = AutoModelForCausalLM.from_pretrained(
        folder,
        dtype=torch.float32,
        quantization_config=CompressedTensorsConfig(dequantize=dense),
        output_loading_info=True,
    )
    assert not any(info.values()), info
    return model


def stated(folder: Path) -> dict[str, Any]:
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    assert isinstance(config, dict)
    return config


@pytest.mark.parametrize(
    ("family", "formats", "dense"),
    [
        ("llama", {"*": "int4-asym:g16", "lm_head": "int4-asym:g16"}, True),
        ("gemma2", {"*": "int4:g16", "lm_head": "int8:row"}, False),
        ("gemma3_text", "fp8-e4m3:row", True),
        ("mixtral", {"*": "int4-asym:g16", "*.layers.1.mlp.experts*": "fp16"}, None),
        ("qwen3_moe", {"*": "int8:g16", "*.self_attn.*": "int4:g16"}, True),
    ],
)
def test_the_exported_model_is_the_quantized_one(
    family: str, formats: object, dense: bool | None, tmp_path: Path
) -> None:
    model = checkpoint(tmp_path / "codes", family, formats)
    report = quant.export(tmp_path / "codes", tmp_path / "out", to="compressed-tensors")
    if dense is not None:  # None: a mixture of experts that transformers' loading cannot tell apart
        assert torch.equal(logits(loaded(tmp_path / "out", dense=dense)), logits(model))
    check_decoded(tmp_path / "out", model)
    assert sum(int(part.split()[0]) for part in report.said.split(", ")) >= 14


def check_decoded(folder: Path, model: nn.Module) -> None:
    """What our own reader makes of the folder is what the model's codes mean."""
    from quant.checkpoints.conversion import units
    from quant.checkpoints.quantized_sources import open_source
    from quant.layers.weights import weights

    opened = open_source(folder)
    found: dict[str, torch.Tensor] = {}
    for unit in units(opened, model):
        found |= unit.read(opened)
    for path, weight in weights(model).items():
        tensor = weight.tensor
        if tensor is None:
            continue
        wanted = weight.layout.stored(torch.from_numpy(tensor.dequantize()))
        value = weight.layout.part(found[weight.stored_name.partition("[")[0]], weight.index)
        assert torch.equal(value.float(), wanted), path


def test_what_is_not_quantized_is_ignored_by_its_published_name(tmp_path: Path) -> None:
    formats = {"*": "int4:g16", "*.layers.1.mlp.experts*": "fp16"}
    checkpoint(tmp_path / "codes", "mixtral", formats)
    quant.export(tmp_path / "codes", tmp_path / "out")
    ignored = set(stated(tmp_path / "out")["ignore"])
    assert "lm_head" in ignored
    assert "model.layers.0.block_sparse_moe.gate" in ignored
    assert {
        f"model.layers.1.block_sparse_moe.experts.{i}.w{j}" for i in range(4) for j in (1, 2, 3)
    }
    assert not any("layers.0" in name and "experts" in name for name in ignored)
    assert stated(tmp_path / "out")["config_groups"]["group_0"]["targets"] == ["Linear"]


def test_a_quantized_head_is_untied(tmp_path: Path) -> None:
    formats = {"*": "int4:g16", "lm_head": "int8:row"}
    checkpoint(tmp_path / "codes", "llama", formats, tie_word_embeddings=True)
    quant.export(tmp_path / "codes", tmp_path / "out")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    names = load_file(tmp_path / "out" / "model.safetensors").keys()
    assert config["tie_word_embeddings"] is False
    assert {"lm_head.weight_packed", "model.embed_tokens.weight"} <= set(names)
    assert "lm_head" not in stated(tmp_path / "out")["ignore"]


def test_shards_types_and_a_second_run(tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "codes", "llama", "int4:g16")
    options: dict[str, Any] = {"shard_bytes": 4096, "rest_dtype": "bfloat16"}
    quant.export(tmp_path / "codes", tmp_path / "out", **options)
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert len(set(index["weight_map"].values())) > 2
    shard = tmp_path / "out" / index["weight_map"]["model.embed_tokens.weight"]
    assert load_file(shard)["model.embed_tokens.weight"].dtype == torch.bfloat16
    assert json.loads((tmp_path / "out" / "config.json").read_text())["dtype"] == "bfloat16"
    assert torch.allclose(logits(loaded(tmp_path / "out", dense=True)), logits(model), atol=0.2)
    assert quant.export(tmp_path / "codes", tmp_path / "out", **options).was_there
    with pytest.raises(RequestError, match="another request"):
        quant.export(tmp_path / "codes", tmp_path / "out")


@pytest.mark.parametrize(("format_", "layout"), [("int8", "int"), ("fp8-e4m3", "float")])
def test_inputs_are_rounded_as_asked(format_: str, layout: str, tmp_path: Path) -> None:
    model = checkpoint(tmp_path / "codes", "llama", f"{format_}:row")
    quant.export(tmp_path / "codes", tmp_path / "out", activations="dynamic")
    assert stated(tmp_path / "out")["format"] == f"{layout}-quantized"
    assert torch.equal(logits(loaded(tmp_path / "out", dense=True)), logits(model))
    rounded = logits(loaded(tmp_path / "out", dense=False))
    with quant.rounded_activations(model, f"{format_}:row:fp32"):
        wanted = logits(model)
    assert float((rounded - wanted).norm() / wanted.norm()) < 0.05
    assert not torch.equal(rounded, logits(model))


def test_static_scales_are_the_largest_inputs(tmp_path: Path) -> None:
    source = tiny_llama(tmp_path / "source")
    model, tokenizer = quant.load_model(str(source))
    quant.quantize_model(model, "fp8-e4m3:row")
    quant.save_model(tmp_path / "codes", model, tokenizer)
    text = CalibrationText(tokens=1024)
    quant.export(tmp_path / "codes", tmp_path / "out", activations="static", calibration=text)
    arrays = load_file(tmp_path / "out" / "model.safetensors")
    seen: list[float] = []
    layer = model.get_submodule("model.layers.1.mlp.down_proj")
    layer.register_forward_pre_hook(lambda _, given: seen.append(float(given[0].abs().max())))
    with torch.no_grad():
        for window in text.read(tokenizer).view(-1, 512):
            model(window[None])
    scale = arrays["model.layers.1.mlp.down_proj.input_scale"]
    assert scale.shape == (1,)
    assert float(scale) == pytest.approx(max(seen) / 448, rel=1e-6)
    inputs = stated(tmp_path / "out")["config_groups"]["group_0"]["input_activations"]
    assert (inputs["dynamic"], inputs["strategy"], inputs["num_bits"]) == (False, "tensor", 8)
    loaded(tmp_path / "out", dense=False)


@pytest.mark.parametrize(
    ("family", "formats", "options", "said"),
    [
        ("llama", "nf4:g16", {}, r"layer model.layers.0.self_attn.q_proj: nf4:g16:fp32 has no exa"),
        (
            "llama",
            "int4:g16",
            {"activations": "dynamic"},
            r"int4:g16:fp16 .*rounded inputs .*int8:",
        ),
        ("gpt2", "int4:g16", {}, r"layer transformer.h.0.attn.c_attn: int4:g16:fp16 of a Conv1D"),
        ("llama4_text", "int4:g16", {}, r"gate_up_proj\[0\]: its experts are published as one"),
        ("llama", {"*": "int4:g16", "model.embed_tokens": "int8:row"}, {}, "of a Embedding"),
        ("llama", "int4:g16", {"to": "onnx"}, "target 'onnx'"),
    ],
)
def test_what_does_not_carry_over_is_refused_by_name(
    family: str, formats: object, options: dict[str, Any], said: str, tmp_path: Path
) -> None:
    checkpoint(tmp_path / "codes", family, formats)
    with pytest.raises(RequestError, match=said):
        quant.export(tmp_path / "codes", tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint(tmp_path / "codes", "llama", "int4:g16")
    monkeypatch.chdir(tmp_path)
    printed = []
    for to, code in (("gptq", 0), ("gguf", 2)):
        monkeypatch.setattr(sys, "argv", ["quant", "export", "codes", "-o", "out", "--to", to])
        ended: object = 0
        try:
            main()
        except SystemExit as stop:
            ended = stop.code
        assert ended == code
        printed.append(capsys.readouterr())
    assert printed[0].out == "out: layers: 14 as gptq int4:g16:fp16\n"
    assert printed[1].out == ""
    assert "no block type of GGUF holds it exactly (allowed: " in printed[1].err
