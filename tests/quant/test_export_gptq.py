"""GPTQ and AWQ folders, decoded by unpackers that are written from the layouts' descriptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import quant
from quant.common.errors import RequestError
from tests.quant.tiny import EXPERTS, tiny

Arrays = dict[str, torch.Tensor]


def exported(
    folder: Path, to: str, formats: object, family: str = "llama", *, above: bool = False
) -> tuple[Any, Any, Any]:
    """A quantized model, the tensors of its export, and what its config says."""
    model = tiny(family, **(EXPERTS if family == "qwen3_moe" else {}))
    if above:  # all of a group above 0: its zero point is 0
        with torch.no_grad():
            model.get_submodule("model.layers.0.self_attn.k_proj").weight.abs_()
    quant.quantize_model(model, formats)  # type: ignore[arg-type]  # a table of texts
    quant.save_model(folder / "codes", model)
    quant.export(folder / "codes", folder / "out", to=to)
    config = json.loads((folder / "out" / "config.json").read_text())["quantization_config"]
    return model, load_file(folder / "out" / "model.safetensors"), config


def bits_of(word: int, width: int, place: int) -> int:
    """The code at a place of a word, with Python's integers."""
    return (word & 0xFFFFFFFF) >> (width * place) & ((1 << width) - 1)


def gptq_weight(arrays: Arrays, path: str, bits: int, zero_offset: int) -> np.ndarray:
    """One number after the other: ``scales[g] * (code - zero)``, ``g = g_idx[input]``."""
    words, zeros = arrays[f"{path}.qweight"].tolist(), arrays[f"{path}.qzeros"].tolist()
    scales = arrays[f"{path}.scales"].float().numpy()
    each = 32 // bits
    groups = arrays[f"{path}.g_idx"].tolist()
    found = np.zeros((scales.shape[1], len(groups)), np.float32)
    for i, group in enumerate(groups):
        for o in range(scales.shape[1]):
            code = bits_of(words[i // each][o], bits, i % each)
            zero = bits_of(zeros[group][o // each], bits, o % each) + zero_offset
            found[o, i] = np.float32(code - zero) * scales[group, o]
    return found


def awq_weight(arrays: Arrays, path: str, size: int) -> np.ndarray:
    """Eight outputs a word; output ``8k + order[j]`` is at bits ``4j`` and up."""
    words, zeros = arrays[f"{path}.qweight"].tolist(), arrays[f"{path}.qzeros"].tolist()
    scales = arrays[f"{path}.scales"].float().numpy()
    place = {output: j for j, output in enumerate((0, 2, 4, 6, 1, 3, 5, 7))}
    found = np.zeros((scales.shape[1], len(words)), np.float32)
    for i, row in enumerate(words):
        for o in range(scales.shape[1]):
            code = bits_of(row[o // 8], 4, place[o % 8])
            zero = bits_of(zeros[i // size][o // 8], 4, place[o % 8])
            found[o, i] = np.float32(code - zero) * scales[i // size, o]
    return found


@pytest.mark.parametrize(
    ("format_", "bits", "version"),
    [("int4:g16", 4, "gptq"), ("int4-asym:g16", 4, "gptq"), ("int8:row:full-range", 8, "gptq"),
     ("int2-asym:g16", 2, "gptq_v2")],
)  # fmt: skip
def test_gptq_decodes_to_the_same_weights(
    format_: str, bits: int, version: str, tmp_path: Path
) -> None:
    model, arrays, config = exported(tmp_path, "gptq", format_, above=version == "gptq_v2")
    assert (config["quant_method"], config["bits"]) == ("gptq", bits)
    assert (config["checkpoint_format"], config["desc_act"]) == (version, False)
    assert config["sym"] == ("asym" not in format_)
    assert config["lm_head"] is False
    for path in ("model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"):
        wanted = model.get_submodule(path).tensor.dequantize()
        found = gptq_weight(arrays, path, bits, 1 if version == "gptq" else 0)
        assert np.array_equal(found, wanted)


@pytest.mark.parametrize("format_", ["int4:g16", "int4-asym:g16:minmax"])
def test_awq_decodes_to_the_same_weights(format_: str, tmp_path: Path) -> None:
    model, arrays, config = exported(tmp_path, "awq", format_)
    assert config["modules_to_not_convert"] == ["lm_head"]
    assert (config["version"], config["zero_point"], config["group_size"]) == ("gemm", True, 16)
    for path in ("model.layers.0.self_attn.q_proj", "model.layers.1.mlp.up_proj"):
        wanted = model.get_submodule(path).tensor.dequantize()
        assert np.array_equal(awq_weight(arrays, path, 16), wanted)


def test_experts_have_their_published_names(tmp_path: Path) -> None:
    formats = {"*": "int4:g16", "*.layers.0.self_attn.o_proj": "fp16"}
    model, arrays, config = exported(tmp_path, "gptq", formats, "qwen3_moe")
    assert "-:^model\\.layers\\.0\\.self_attn\\.o_proj$" in config["dynamic"]
    assert "-:^model\\.layers\\.1\\.mlp\\.gate$" in config["dynamic"]
    from quant.layers.weights import weights

    tensor = weights(model)["model.layers.1.mlp.experts.gate_up_proj[2]"].tensor
    assert tensor is not None
    found = gptq_weight(arrays, "model.layers.1.mlp.experts.2.up_proj", 4, 1)
    assert np.array_equal(found, tensor.dequantize()[16:])


@pytest.mark.parametrize(
    ("to", "formats", "said"),
    [
        ("awq", "int8:g16", r"layer model.layers.0.self_attn.q_proj: int8:g16:fp16 has no place"),
        ("gptq", "bitmod4:g16", r"bitmod4:g16:fp16 has no place in gptq \(allowed: int2 and"),
        ("gptq", "int4:g16:int8", r"q_proj: int4:g16:int8 has scales that float16 does not hold"),
        ("gptq", "int4:g24", "32 are not whole groups of 24"),
        ("awq", {"*": "int4:g16", "*.up_proj": "int4:g8"}, r"up_proj: int4:g8:fp16, and .* one fo"),
    ],
)
def test_what_has_no_place_is_refused(to: str, formats: object, said: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=said):
        exported(tmp_path, to, formats)
    assert not (tmp_path / "out").exists()


def test_inputs_are_not_rounded(tmp_path: Path) -> None:
    exported(tmp_path, "awq", "int4:g16")
    with pytest.raises(RequestError, match="'dynamic': gptq rounds none"):
        quant.export(tmp_path / "codes", tmp_path / "two", to="gptq", activations="dynamic")
