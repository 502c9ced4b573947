"""What a model keeps as values comes back from its checkpoint, whatever its parameters' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import quant
from quant.layers.linear import QuantizedLinear
from quant.layers.parameters import unquantized
from quant.layers.weights import weights
from tests.quant.test_tied_heads import FORMAT, build, head_and_layers
from tests.quant.tiny import HEADS, SIZE

SIDES = {
    "hidden_size": SIZE, "intermediate_size": 64, "num_hidden_layers": 1, "image_size": 16,
    "num_attention_heads": HEADS, "patch_size": 8,
}  # fmt: skip


VISION: dict[str, dict[str, Any]] = {
    "siglip_vision_model": {},
    "siglip2_vision_model": {"num_patches": 4},
    "siglip": {"vision_config": SIDES, "text_config": {**SIDES, "projection_size": SIZE}},
}  # fmt: skip
"""Models with attention of torch's own, whose inputs are one fused matrix."""


def vision(name: str) -> nn.Module:
    from transformers import CONFIG_MAPPING, AutoModel

    torch.manual_seed(0)
    usual = {} if name == "siglip" else SIDES
    model: nn.Module = AutoModel.from_config(CONFIG_MAPPING[name](**{**usual, **VISION[name]}))
    return model.eval()


@pytest.mark.parametrize("ignore", ["*in_proj_weight", "*out_proj"])
@pytest.mark.parametrize("name", VISION)
def test_a_fused_matrix_is_kept_or_quantized(name: str, ignore: str, tmp_path: Path) -> None:
    model = vision(name)
    fused = [path for path in weights(model) if path.endswith("in_proj_weight")]
    assert fused
    formats = {"*": FORMAT, "*in_proj_weight": FORMAT}
    quant.quantize_model(model, formats, ignore=[ignore])
    kept = [path for path in fused if weights(model)[path].tensor is None]
    assert kept == (fused if "in_proj" in ignore else [])
    quant.save_model(tmp_path / "out", model)
    again, _ = quant.load_model(tmp_path / "out")
    mine, its = unquantized(model), unquantized(again)
    assert mine.keys() == its.keys()
    assert all(torch.equal(value, its[own]) for own, value in mine.items())
    state = again.state_dict()
    assert all(torch.equal(value, state[own]) for own, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["bert", "roberta"])
def test_a_bias_with_two_names_stays_one(name: str, tmp_path: Path) -> None:
    model = build(name)
    before = {id(p) for n, p in model.named_parameters() if n.endswith("bias")}
    names = set(unquantized(model))
    quant.quantize_model(model, dict.fromkeys(head_and_layers(model), FORMAT))
    assert {id(p) for n, p in model.named_parameters() if n.endswith("bias")} == before
    assert set(unquantized(model)) <= names
    quant.save_model(tmp_path / "out", model)
    again, _ = quant.load_model(tmp_path / "out")
    assert set(unquantized(again)) == set(unquantized(model))


def test_a_bias_that_is_no_parameter_becomes_one() -> None:
    tensor = quant.quantize(torch.randn(4, 16).numpy(), FORMAT)
    own = nn.Parameter(torch.ones(4))
    assert QuantizedLinear(tensor, own, torch.float32).bias is own
    assert isinstance(QuantizedLinear(tensor, torch.ones(4), torch.float32).bias, nn.Parameter)
    assert QuantizedLinear(tensor, None, torch.float32).bias is None
