"""Sources whose weights are codes: decoded in memory and streamed alike, or refused by name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import quant
from quant.checkpoints.contents import load_manifest
from quant.checkpoints.folder import load_quantized, load_rest
from quant.checkpoints.stream import quantize_checkpoint
from quant.common.errors import RequestError
from quant.layers.parameters import unquantized
from quant.methods.registry import METHODS
from quant.models.checkpoint import quantize_to_folder
from quant.models.preflight import check_quantization, name_of
from quant.tensors.arrays import parts
from tests.quant.quantized_folders import FILE, float_folder, in_fp8, in_mxfp4, rewritten

FORMATS = {"*": "int4-asym:g32", "lm_head": "int8:row"}


def alike(coded: Path, plain: Path) -> None:
    """A folder of codes is the model that the floats are: loaded, quantized, streamed."""
    model, tokenizer = quant.load_model(coded)
    other, _ = quant.load_model(plain)
    found, wanted = model.state_dict(), other.state_dict()
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name].dtype == torch.float32, name
        assert torch.equal(found[name], value), name
    assert tokenizer is not None
    assert not hasattr(model.config, "quantization_config")
    assert name_of(model) == str(coded)
    out = coded.with_name(coded.name + "-out")
    report = quantize_checkpoint(coded, out, FORMATS, shard_bytes=100_000)
    tensors = quant.quantize_model(model, FORMATS).tensors
    streamed = load_quantized(out)
    assert streamed.keys() == tensors.keys() == report.layers.keys()
    for path, tensor in tensors.items():
        for part, values in parts(tensor).items():
            assert np.array_equal(getattr(streamed[path], part), values), (path, part)
    rest, kept = load_rest(out), unquantized(model)
    assert rest.keys() == kept.keys()
    assert all(torch.equal(rest[name].float(), value.float()) for name, value in kept.items())
    assert "source_format" in load_manifest(out).request
    again, _ = quant.load_model(out)  # its config speaks of no codes
    tokens = torch.arange(12)[None]
    with torch.no_grad():
        assert torch.equal(again(tokens).logits, model(tokens).logits)


@pytest.mark.parametrize(
    ("family", "size", "scale"),
    [
        ("llama", (16, 24), torch.float32),
        ("llama", None, torch.bfloat16),
        ("qwen3-moe", (128, 128), torch.bfloat16),
        ("deepseek-v3", (32, 32), torch.float8_e8m0fnu),
    ],
)
def test_fp8(family: str, size: tuple[int, int] | None, scale: torch.dtype, tmp_path: Path) -> None:
    alike(*in_fp8(float_folder(tmp_path / "floats", family), tmp_path / "fp8", size, scale))


def test_mxfp4_of_gpt_oss(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    coded, plain = in_mxfp4(float_folder(tmp_path / "floats", "gpt-oss"), tmp_path / "mxfp4")
    arrays = load_file(coded / FILE)
    name = "model.layers.1.mlp.experts.down_proj"
    theirs = convert_moe_packed_tensors(arrays[f"{name}_blocks"], arrays[f"{name}_scales"])
    assert torch.equal(load_file(plain / FILE)[name], theirs.float())
    alike(coded, plain)
    said = " ".join(capsys.readouterr().err.split())
    assert "its weights are codes already (mxfp4), decoded to floats" in said
    half, _ = quant.load_model(coded, dtype="bfloat16")
    assert torch.equal(half.get_parameter(name), theirs)


def test_rows_and_tensors_of_other_writers(tmp_path: Path) -> None:
    source = float_folder(tmp_path / "floats", "llama")
    codes, plain = load_file(source / FILE), load_file(source / FILE)
    for name in [name for name in codes if "mlp" in name]:
        scale = torch.rand(codes[name].shape[0], 1) + 0.5
        codes[name] = (codes[name] * 300).to(torch.float8_e4m3fn)
        plain[name] = codes[name].float() * scale
        codes |= {f"{name}_scale": scale, name.replace("weight", "input_scale"): torch.ones(1)}
    stated = {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}
    coded = rewritten(source, tmp_path / "fbgemm", codes, stated)
    alike(coded, rewritten(source, tmp_path / "plain", plain))


def test_the_manifest_says_what_the_source_was(tmp_path: Path) -> None:
    coded, _ = in_fp8(float_folder(tmp_path / "floats", "llama"), tmp_path / "fp8", (32, 32))
    check_quantization(str(coded), "fp4:g32", METHODS["rtn"])
    quantize_to_folder(str(coded), tmp_path / "out", "fp4:g32", METHODS["rtn"])
    assert load_manifest(tmp_path / "out").request["source_format"] == "fp8 in blocks of 32x32"
    quantize_checkpoint(coded, tmp_path / "streamed", "fp4:g32")
    streamed = load_manifest(tmp_path / "streamed")
    assert streamed.request["source_format"] == "fp8 in blocks of 32x32"
    assert "quantization_config" not in (tmp_path / "streamed/config.json").read_text()


UP = "model.layers.1.mlp.up_proj.weight"
Edit = Callable[[dict[str, torch.Tensor], dict[str, Any]], None]


def with_method(**stated: object) -> Edit:
    return lambda arrays, config: config.update(quantization_config=stated)


def no_scale(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    del arrays[f"{UP}_scale_inv"]


def unsaid(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    del config["quantization_config"]


def unscaled(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    unsaid(arrays, config)
    for name in [name for name in arrays if name.endswith("_scale_inv")]:
        del arrays[name]


def cut_scale(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    arrays[f"{UP}_scale_inv"] = arrays[f"{UP}_scale_inv"][:1].clone()


def lone_scale(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    arrays[UP] = arrays[UP].float()


def integers(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    arrays[UP] = arrays[UP].view(torch.int8)
    del arrays[f"{UP}_scale_inv"]


def not_a_number(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    arrays[UP].view(torch.uint8)[3, 5] = 0x7F


def wrong_blocks(arrays: dict[str, torch.Tensor], config: dict[str, Any]) -> None:
    config["quantization_config"]["weight_block_size"] = [16, 32]


HOSTILE: dict[str, tuple[Edit, str]] = {
    "scale missing": (no_scale, "up_proj.weight' is F8_E4M3 with no"),
    "scale cut": (cut_scale, r"up_proj.weight_scale_inv' is F32 of shape \(1, 2\): it does not"),
    "blocks of another size": (wrong_blocks, "does not fit"),
    "scale without codes": (lone_scale, "up_proj.weight_scale_inv' .F32. is part of no codes"),
    "integers": (integers, "up_proj.weight' .I8. is part of no codes of fp8"),
    "NaN": (not_a_number, r"up_proj.weight.*\[3, 5\]"),
    "no config": (unsaid, "F8_E4M3. is part of codes, and no quantization_config"),
    "no config, no scales": (unscaled, "F8_E4M3. is part of codes, and no quantization_config"),
    "no table": (lambda _, config: config.update(quantization_config="fp8"), "a table is needed"),
    "no method": (with_method(bits=4), "no quant_method in its config.json"),
    "blocks of text": (
        with_method(quant_method="fp8", weight_block_size=["a", 1]), "two whole numbers above 0",
    ),
    "no codes of it": (with_method(quant_method="mxfp4"), "no tensor has its codes"),
    **{
        method: (with_method(quant_method=method), rf"quantized already \({method} .*allowed")
        for method in (
            "bitsandbytes", "gptq", "awq", "hqq", "quanto", "torchao", "aqlm", "eetq", "novel",
        )
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def fp8(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fp8")
    return in_fp8(float_folder(folder / "floats", "llama"), folder / "coded", (32, 32))[0]


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_cannot_be_decoded_is_refused(kind: str, fp8: Path, tmp_path: Path) -> None:
    edit, said = HOSTILE[kind]
    arrays = load_file(fp8 / FILE)
    config = json.loads((fp8 / "config.json").read_text())
    edit(arrays, config)
    folder = rewritten(fp8, tmp_path / "bad", arrays)
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(RequestError, match=said) as caught:
        quant.load_model(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(RequestError, match=said):
        quantize_checkpoint(folder, tmp_path / "out", "fp4:g32")


def test_codes_without_any_config_are_refused(fp8: Path, tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    save_file(load_file(fp8 / FILE), tmp_path / "bare" / FILE)
    with pytest.raises(RequestError, match=r"F8_E4M3. is part of codes"):
        quantize_checkpoint(tmp_path / "bare", tmp_path / "out", "fp4:g32")


@pytest.mark.parametrize("what", ["scales", "shape"])
def test_broken_mxfp4_is_refused(what: str, tmp_path: Path) -> None:
    coded, _ = in_mxfp4(float_folder(tmp_path / "floats", "gpt-oss"), tmp_path / "mxfp4")
    arrays = load_file(coded / FILE)
    name = "model.layers.0.mlp.experts.down_proj_scales"
    scales = arrays.pop(name)
    if what == "shape":
        arrays[name] = scales[:, 1:].clone()
    bad = rewritten(coded, tmp_path / "bad", arrays)
    said = "has no .*down_proj_scales' beside" if what == "scales" else "down_proj_scales' is U8"
    for read in (quant.load_model, lambda at: quantize_checkpoint(at, tmp_path / "out", "fp4:g32")):
        with pytest.raises(RequestError, match=said):
            read(bad)


def test_layers_that_compute_with_codes_are_refused() -> None:
    from transformers import FineGrainedFP8Config, LlamaConfig, LlamaForCausalLM
    from transformers.integrations.finegrained_fp8 import FP8Linear, replace_with_fp8_linear

    config = LlamaConfig(
        vocab_size=32, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    settings = FineGrainedFP8Config(weight_block_size=(32, 32))
    model = replace_with_fp8_linear(LlamaForCausalLM(config), ["lm_head"], settings, True)
    own = model.get_submodule("model.layers.0.mlp.up_proj")
    assert isinstance(own, FP8Linear)
    with pytest.raises(RequestError, match=r"layer .*q_proj: its weight is .*float8_e4m3fn"):
        quant.quantize_model(model, "int4:g32")
    assert model.get_submodule("model.layers.0.mlp.up_proj") is own
