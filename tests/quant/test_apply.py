"""Models with quantized layers: which layers, what they compute, plans, checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from quant.common.sealed import read_sealed, write_sealed
from quant.formats.registry import FORMATS
from quant.formats.spec import parse_spec
from quant.models.apply import linear_layers, quantized
from quant.plan import Plan, assign
from quant.tensors.tensor import PARTS


def small_model() -> nn.Module:
    torch.manual_seed(0)
    block = {"up": nn.Linear(96, 64), "down": nn.Linear(64, 96, bias=False)}
    model = nn.ModuleDict({"layers": nn.ModuleList([nn.ModuleDict(block)])})
    model["lm_head"] = nn.Linear(96, 10)
    return model


def test_layers_compute_with_the_weights_of_their_codes() -> None:
    model = small_model()
    weight = model.get_submodule("layers.0.up").weight
    assert isinstance(weight, torch.Tensor)
    report = quant.quantize_model(model, "bitmod4:g32:int8")
    layer = model.get_submodule("layers.0.up")
    assert isinstance(layer, quant.QuantizedLinear)
    wanted = quant.quantize(weight, "bitmod4:g32:int8")
    assert np.array_equal(layer.tensor.codes, wanted.codes)
    x = torch.randn(5, 96)
    assert torch.equal(
        layer(x), nn.functional.linear(x, torch.from_numpy(wanted.dequantize()), layer.bias)
    )
    assert isinstance(model.get_submodule("lm_head"), nn.Linear)
    assert set(report.layers) == {"layers.0.up", "layers.0.down"}
    bits = sum(t.storage_bits for t in report.tensors.values())
    assert report.effective_bits == bits / (2 * 96 * 64)
    assert report.whole_model_bits == pytest.approx(
        (bits + 32 * (64 + 970)) / (2 * 96 * 64 + 64 + 970)
    )


def test_a_block_gives_the_layers_back() -> None:
    model = small_model()
    before = linear_layers(model)
    with quantized(model, {"*": "int4", "lm_head": "int8"}) as report:
        assert len(report.layers) == 3
        assert isinstance(model.get_submodule("lm_head"), quant.QuantizedLinear)
    assert linear_layers(model) == before


def test_patterns() -> None:
    paths = ["model.layers.0.a", "model.layers.1.a", "model.layers.1.b", "lm_head"]
    int4, int8, fp4 = (parse_spec(name) for name in ("int4", "int8", "fp4"))
    assert assign("int4", paths) == assign(int4, paths) == dict.fromkeys(paths[:3], int4)
    chosen = assign({"model.layers.1.a": "int8", "*": "int4", "*.b": fp4}, paths)
    assert chosen == {paths[0]: int4, paths[1]: int8, paths[2]: fp4}
    plan = Plan({"*": "int4", "lm_head": "int8"})
    assert plan.specs == {"*": int4, "lm_head": int8}
    assert assign(plan, paths) == dict.fromkeys(paths[:3], int4) | {"lm_head": int8}
    with pytest.raises(RequestError, match=r"unknown layer '\*\.c'"):
        assign({"*.c": "int4"}, paths)
    with pytest.raises(RequestError, match="nearest: int4"):
        assign({"*": "int44"}, paths)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named(value: float) -> None:
    model = small_model()
    weight = model.get_submodule("layers.0.down").weight
    assert isinstance(weight, torch.Tensor)
    with torch.no_grad():
        weight[7, 3] = value
    with pytest.raises(RequestError, match=r"layer layers\.0\.down: weight \[7, 3\] is"):
        quant.quantize_model(model, "int4")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_types_of_weights(dtype: torch.dtype) -> None:
    model = small_model().to(dtype)
    quant.quantize_model(model, "int4")
    assert model.get_submodule("layers.0.up")(torch.ones(1, 96, dtype=dtype)).dtype == dtype


def test_plans(tmp_path: Path) -> None:
    plan = Plan({"*": "bitmod4:g128:int8", "lm_head": "int8"}, "some-model")
    plan.save(tmp_path / "plan.toml")
    assert Plan.load(tmp_path / "plan.toml") == plan
    for text, message in [
        ("schema = 'plan/2'", "'plan/1' is needed"),
        ("schema = 'plan/1'\nlayer = 1", "layer: no such key"),
        ("schema = 'plan/1'\nlayers = 3\nmethod = 4", r"(?s)method.*layers|layers.*method"),
        ("schema = 'plan/1'\nmethod = 'magic'\n[layers]\na = 'fpp4'", r"method.*layers\.a"),
        ("schema = 'plan/1'\n[layers]\na = 'int44'\nb = 'fpp4'", r"layers\.a.*layers\.b"),
        ("schema = ", "cannot be read as TOML"),
    ]:
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(RequestError, match=message):
            Plan.load(tmp_path / "bad.toml")


def saved(folder: Path) -> dict[str, quant.QuantizedTensor]:
    weight = np.random.default_rng(0).standard_normal((6, 150)).astype(np.float32)
    names = ["int4", "int3-asym:g64:fp32", "bitmod3:g64:int8", "bitmod4:g32:fp16"]
    tensors = {f"layer.{i}": quant.quantize(weight, name) for i, name in enumerate(names)}
    quant.save_quantized(folder, tensors, model="m")
    return tensors


def test_checkpoint_round_trip(tmp_path: Path) -> None:
    tensors = saved(tmp_path / "c")
    saved(tmp_path / "c")
    loaded = quant.load_quantized(tmp_path / "c")
    assert list(loaded) == list(tensors)
    for path, tensor in tensors.items():
        assert loaded[path].spec == tensor.spec
        for part in PARTS:
            first, second = getattr(tensor, part), getattr(loaded[path], part)
            assert (first is None) == (second is None)
            assert first is None or np.array_equal(first, second)
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("name", [n for n, entry in FORMATS.items() if not entry.is_plain])
def test_every_format_survives_a_checkpoint(name: str, tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((6, 150)).astype(np.float32)
    texts = [name, f"{name}:float-zero"] if FORMATS[name].is_asymmetric else [name]
    tensors = {text.replace(":", "-"): quant.quantize(weight, text) for text in texts}
    quant.save_quantized(tmp_path / "c", tensors)
    for path, tensor in quant.load_quantized(tmp_path / "c").items():
        assert np.array_equal(tensor.dequantize(), tensors[path].dequantize())


def test_a_cut_checkpoint_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "c")
    path = tmp_path / "c/quantized.safetensors"
    whole = path.read_bytes()
    for size in range(0, len(whole), max(1, len(whole) // 20)):
        path.write_bytes(whole[:size])
        with pytest.raises(RequestError, match="SHA-256"):
            quant.load_quantized(tmp_path / "c")


def test_a_manifest_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    saved(tmp_path / "c")
    path = tmp_path / "c/manifest.json"
    content = read_sealed(path)
    content["layers"]["layer.0"]["shape"] = [6, 151]
    write_sealed(path, content)
    with pytest.raises(RequestError, match=r"layer layer\.0: codes has shape"):
        quant.load_quantized(tmp_path / "c")
    content["sha256"]["../secret"] = "0"
    write_sealed(path, content)
    with pytest.raises(RequestError, match=r"'\.\./secret'"):
        quant.load_quantized(tmp_path / "c")
    path.write_text("[")
    with pytest.raises(RequestError, match="not readable as JSON"):
        quant.load_quantized(tmp_path / "c")


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    saved(tmp_path / "c")
    before = (tmp_path / "c/manifest.json").read_text()
    bad = quant.quantize(np.ones((1, 2)), "int4")
    object.__setattr__(bad, "codes", bad.codes[:, :0])
    with pytest.raises(RequestError, match="layer x: codes has shape"):
        quant.save_quantized(tmp_path / "c", {"x": bad})
    assert (tmp_path / "c/manifest.json").read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_perplexity_of_a_uniform_model() -> None:
    class Uniform(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(4, 50)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, input_ids: torch.Tensor, use_cache: bool) -> object:
            assert not use_cache
            return type("Out", (), {"logits": self.head(torch.ones(*input_ids.shape, 4))})

    result = quant.perplexity(Uniform(), torch.arange(45) % 50, 10)
    assert float(result) == pytest.approx(50)
    assert (len(result.window_nll), result.tokens) == (4, 40)
    assert result.difference(result) == (0, 0)
    with pytest.raises(RequestError, match="at least one window of 10"):
        quant.perplexity(Uniform(), torch.arange(9), 10)
