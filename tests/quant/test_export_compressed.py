"""What compressed-tensors itself decodes from an export is what our codes mean."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from compressed_tensors.compressors.base import BaseCompressor
from compressed_tensors.quantization import QuantizationConfig, QuantizationScheme
from safetensors.torch import load_file

import quant
from quant.checkpoints.compressed_tensors import export_compressed_tensors
from quant.common.errors import RequestError

INTEGERS = [
    f"int{bits}{kind}"
    for bits in (2, 3, 4, 5, 8)
    for kind in (":g32", "-asym:g64", ":row:full-range", "-asym:row", ":g128:int8", ":g64:fp32")
]
FP4 = ["nvfp4:global", "nvfp4:one-level", "mxfp4", "mxfp4:even"]


def weight(rows: int = 24, columns: int = 256) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((rows, columns)).astype(np.float32) * 0.02


def decoded(folder: Path, path: str = "layer") -> torch.Tensor:
    """The library's own decompression of one layer of a written folder."""
    settings = json.loads((folder / "config.json").read_text())["quantization_config"]
    config = QuantizationConfig.model_validate(settings)
    (scheme,) = [s for s in config.config_groups.values() if path in s.targets]
    assert isinstance(scheme, QuantizationScheme)
    arrays = load_file(folder / "model.safetensors")
    state = {name.removeprefix(f"{path}."): value for name, value in arrays.items()}
    compressor = BaseCompressor.get_value_from_registry(scheme.format)
    found: torch.Tensor = compressor.decompress(state, scheme)["weight"]
    return found


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_decode_to_the_same_float32(name: str, tmp_path: Path) -> None:
    qt = quant.quantize(weight(), name)
    export_compressed_tensors(tmp_path / "out", {"layer": qt})
    found = decoded(tmp_path / "out")
    assert found.dtype == torch.float32
    assert torch.equal(found, torch.from_numpy(qt.dequantize()))


@pytest.mark.parametrize("name", FP4)
def test_fp4_decodes_to_the_same_bfloat16(name: str, tmp_path: Path) -> None:
    qt = quant.quantize(weight(), name)
    export_compressed_tensors(tmp_path / "out", {"layer": qt})
    found = decoded(tmp_path / "out")
    assert torch.equal(found, torch.from_numpy(qt.dequantize()).to(found.dtype))


@pytest.mark.parametrize("name", ["int4-asym:g32", "mxfp4", "nvfp4:global"])
def test_transformers_loads_an_exported_model(name: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, CompressedTensorsConfig, LlamaConfig

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=False,
    )  # fmt: skip
    config.architectures = ["LlamaForCausalLM"]
    model = AutoModelForCausalLM.from_config(config)
    rest = dict(model.named_parameters())
    report = quant.quantize_model(model, name)
    export_compressed_tensors(tmp_path / "out", report.tensors, rest=rest, config=config.to_dict())
    again = AutoModelForCausalLM.from_pretrained(
        tmp_path / "out",
        dtype=torch.float32,
        quantization_config=CompressedTensorsConfig(dequantize=True),
    )
    for path, tensor in report.tensors.items():
        found = again.get_submodule(path).weight.detach()
        wanted = torch.from_numpy(tensor.dequantize())
        if name != "int4-asym:g32":
            wanted = wanted.bfloat16().float()
        assert torch.equal(found.float(), wanted), path
    assert torch.equal(again.model.embed_tokens.weight, rest["model.embed_tokens.weight"])


@pytest.mark.parametrize("name", ["bitmod4", "fp4", "nf4", "nvfp4", "int4-asym:float-zero", "hif4"])
def test_other_formats_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no exact scheme there"):
        export_compressed_tensors(tmp_path / "out", {"layer": quant.quantize(weight(), name)})
    assert not (tmp_path / "out").exists()


def test_ragged_groups_are_refused(tmp_path: Path) -> None:
    qt = quant.quantize(weight(4, 100), "int4:g64")
    with pytest.raises(RequestError, match="100 are not whole groups of 64"):
        export_compressed_tensors(tmp_path / "out", {"layer": qt})
