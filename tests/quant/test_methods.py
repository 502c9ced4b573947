"""Methods: GPTQ equal to the released code, every method on every kind of format and layer."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import quant
from quant.common.errors import RequestError
from quant.formats.registry import FORMATS
from quant.formats.spec import parse_spec
from quant.methods.clip import SHRINKS
from quant.methods.gptq import GptqOptions, gptq, inverse_factor
from quant.methods.registry import METHODS
from quant.models.apply import quantized
from quant.rounding.fit import fit

GOLDEN = Path(__file__).parent.parent / "golden/datatypes.npz"
GRIDS = [n for n, e in FORMATS.items() if not e.is_plain and e.layout.is_grid]


def golden_gptq() -> list[str]:
    with np.load(GOLDEN) as data:
        return [key for key in data.files if "|gptq_official|" in key and key.endswith("hloss")]


@pytest.mark.parametrize("key", golden_gptq())
def test_gptq_equals_the_released_code(key: str) -> None:
    _, _, kind, settings, _, _ = key.split("|")
    group, order, static, mse = settings.split("_")
    asymmetric = kind.endswith("_asym")
    options = GptqOptions(
        act_order=order == "ao1",
        static_groups=static == "sg1",
        shrinks=SHRINKS if mse == "mse1" else (),
        norm=2.4,
    )
    name = kind[:4] + ("-asym" if asymmetric else "")
    size = "row" if group == "g-1" else group
    rule = "minmax-zero" if asymmetric else "full-range"
    with np.load(GOLDEN) as data:
        weight, hessian = data["public|in|gptqW|x"], data["public|in|gptqH|x"]
        wanted, wanted_loss = data[key.replace("hloss", "deq")], float(data[key])
    got = gptq(weight, hessian, parse_spec(f"{name}:{size}:fp32:{rule}"), options).dequantize()
    difference = (got - weight).astype(np.float64)
    loss = np.einsum("ij,jk,ik", difference, hessian.astype(np.float64), difference)
    if size != "row" and options.act_order and not options.static_groups:
        # Its groups follow the permuted columns; ours stay contiguous and are fixed up front.
        assert loss <= wanted_loss * 1.01
        return
    assert loss == pytest.approx(wanted_loss, rel=0.015 if mse == "mse1" else 0.01)
    equal = np.abs(got - wanted) <= 1e-5 * np.abs(wanted).max()
    assert equal.mean() >= (0.94 if mse == "mse1" else 0.99)


def layer(seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A weight ``[24, 200]`` and the Hessian of correlated inputs with unequal strengths."""
    rng = np.random.default_rng(seed)
    weight = (rng.standard_t(5, (24, 200)) * 0.05).astype(np.float32)
    mixing = rng.standard_normal((200, 200)) * np.exp(rng.standard_normal(200))
    inputs = rng.standard_normal((1000, 200)) @ mixing
    return weight, (inputs.T @ inputs * (2 / 1000)).astype(np.float32)


@pytest.mark.parametrize("name", [*GRIDS, "codebook3", "codebook4"])
def test_gptq_lowers_the_output_error_of_any_grid(name: str) -> None:
    weight, hessian = layer()
    spec = parse_spec(name)

    def loss(tensor: quant.QuantizedTensor) -> float:
        difference = tensor.dequantize() - weight
        return float(np.vdot(difference @ hessian, difference))

    assert loss(gptq(weight, hessian, spec)) < loss(quant.quantize(weight, name)) * 1.001


@pytest.mark.parametrize("size", [32, 96, 128, 144])
def test_gptq_with_ragged_groups_and_refits(size: int) -> None:
    weight, hessian = layer(1)
    for act_order, static in itertools.product([False, True], [False, True]):
        options = GptqOptions(act_order=act_order, static_groups=static)
        tensor = gptq(weight, hessian, parse_spec(f"bitmod3:g{size}:int8"), options)
        assert tensor.scales.shape == (24, -(-200 // size))
        difference = tensor.dequantize() - weight
        plain = quant.quantize(weight, f"bitmod3:g{size}:int8").dequantize() - weight
        assert np.vdot(difference @ hessian, difference) < np.vdot(plain @ hessian, plain)


def test_inverse_factor() -> None:
    _, hessian = layer(2)
    upper = inverse_factor(hessian, 0.01).astype(np.float64)
    damped = hessian + 0.01 * np.diag(hessian).mean() * np.eye(200)
    assert np.array_equal(np.triu(upper), upper)
    np.testing.assert_allclose(upper.T @ upper @ damped, np.eye(200), atol=2e-2)


def test_a_hessian_that_is_none() -> None:
    weight, hessian = layer()
    with pytest.raises(RequestError, match=r"finite \[200, 200\] needed"):
        gptq(weight, hessian[:10], parse_spec("int4"))
    with pytest.raises(RequestError, match="not positive semidefinite"):
        gptq(weight, -hessian, parse_spec("int4"))


@pytest.mark.parametrize("name", GRIDS)
def test_the_clipping_search_equals_its_reference(name: str) -> None:
    weight, hessian = layer(3)
    spec = parse_spec(name)
    importance = np.diag(hessian).copy()
    found = [
        fit(weight, spec, shrinks=SHRINKS[:40], importance=importance, backend=backend)
        for backend in ("numba", "numpy")
    ]
    assert np.array_equal(found[0].scales.stored, found[1].scales.stored)
    assert np.array_equal(found[0].selectors, found[1].selectors)
    assert np.array_equal(found[0].zeros, found[1].zeros)


class Attention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.o_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.q_proj(x), self.k_proj(x), self.v_proj(x)
        mixed: torch.Tensor = self.o_proj(nn.functional.scaled_dot_product_attention(q, k, v))
        return mixed


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.after = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width)
        self.gate_proj = nn.Linear(width, 2 * width)
        self.up_proj, self.down_proj = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attention(self.norm(x))
        h = self.after(x)
        y: torch.Tensor = x + self.down_proj(
            nn.functional.silu(self.gate_proj(h)) * self.up_proj(h)
        )
        return y


class Small(nn.Module):
    """Two transformer layers with a few strong channels, as language models have them."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([Layer(width), Layer(width)])
        self.head = nn.Linear(width, 16)
        with torch.no_grad():
            for name, value in self.named_parameters():
                if name.endswith("norm.weight") or name.endswith("after.weight"):
                    value[::16] *= 12

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for block in self.layers:
            x = block(x)
        y: torch.Tensor = self.head(x)
        return y


def batches(count: int = 6) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 48, 64, generator=generator) for _ in range(count)]


def output_error(method: str, name: str) -> float:
    model, data = Small(), batches()
    fresh = torch.randn(4, 48, 64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = model(fresh)
        needs = METHODS[method].uses_calibration
        with quantized(
            model, {"layers.*": name}, method=method, calibration=data if needs else None
        ):
            error = float((model(fresh) - wanted).square().mean())
        assert torch.equal(model(fresh), wanted)  # the model is as it was
    return error


@pytest.mark.parametrize("name", ["int3-asym:g32", "bitmod3:g32"])
@pytest.mark.parametrize("method", ["gptq", "awq", "omniquant"])
def test_methods_improve_on_rounding_to_nearest(method: str, name: str) -> None:
    assert output_error(method, name) < output_error("rtn", name)


@pytest.mark.parametrize("name", ["int4-asym", "nvfp4", "mxfp4", "bitmod4:g32:int8", "nf4"])
@pytest.mark.parametrize("method", ["rtn", "clip", "gptq", "awq", "smoothquant"])
def test_every_method_takes_every_grid(method: str, name: str) -> None:
    assert output_error(method, name) < 2.0


@pytest.mark.parametrize("method", ["awq", "smoothquant"])
def test_folding_scales_leaves_the_function(method: str) -> None:
    """At 8 bits nothing is left but the folding, which must cancel."""
    assert output_error(method, "int8:g32:fp32") < 1e-3


def test_smoothing_helps_low_bit_activations() -> None:
    model, data = Small(), batches()
    fresh = torch.randn(4, 48, 64, generator=torch.Generator().manual_seed(2))
    error = {}
    with torch.no_grad():
        wanted = model(fresh)
        for method in ("rtn", "smoothquant"):
            seen = None if method == "rtn" else data
            with (
                quantized(model, {"layers.*": "int8:row"}, method=method, calibration=seen),
                quant.rounded_activations(model, inputs="int5:row"),
            ):
                error[method] = float((model(fresh) - wanted).square().mean())
    assert error["smoothquant"] < error["rtn"]


def test_calibration_is_asked_for() -> None:
    with pytest.raises(RequestError, match="needs calibration="):
        quant.quantize_model(Small(), "int4", method="gptq")
    with pytest.raises(RequestError, match="holds no batch"):
        quant.quantize_model(Small(), "int4", method="gptq", calibration=[])
    with pytest.raises(RequestError, match="nearest: gptq"):
        quant.quantize_model(Small(), "int4", method="gptk")


def test_convolutions_go_through_the_same_calls() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(16, 16, 3, padding=1, groups=16), nn.ReLU(),
        nn.Conv2d(16, 8, 1), nn.Flatten(), nn.Linear(8 * 64, 10),
    )  # fmt: skip
    data = [torch.randn(2, 3, 16, 16) for _ in range(8)]
    fresh = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        wanted = model(fresh)
        for method, name in itertools.product(("rtn", "gptq", "clip"), ("int8", "bitmod4")):
            seen = None if method == "rtn" else data
            with quantized(model, name, method=method, calibration=seen) as report:
                assert len(report.layers) == 4
                assert report.tensors["0"].shape == (16, 27)
                error = (model(fresh) - wanted).square().mean() / wanted.square().mean()
            assert error < (1e-3 if name == "int8" else 0.2)


def test_transposed_layers() -> None:
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(0)
    model = nn.Sequential(Conv1D(24, 40))
    x = torch.randn(3, 40)
    wanted = model(x)
    report = quant.quantize_model(model, "int8:g32")
    assert report.tensors["0"].shape == (24, 40)
    assert torch.allclose(model(x), wanted, atol=2e-2)


def test_meta_layers_are_refused() -> None:
    model = nn.Sequential(nn.Linear(8, 8, device="meta"))
    with pytest.raises(RequestError, match=r"layer 0: .*meta device"):
        quant.quantize_model(model, "int4")


def test_key_and_value_formats() -> None:
    model = Small()
    x = batches(1)[0]
    with torch.no_grad():
        wanted = model(x)
        with quant.rounded_activations(model, kv="bitmod4:g32"):
            rounded = model(x)
        assert 0 < float((rounded - wanted).abs().max()) < float(wanted.abs().max())
        assert torch.equal(model(x), wanted)
    with (
        pytest.raises(RequestError, match="no layer is called"),
        quant.rounded_activations(nn.Sequential(nn.Linear(4, 4)), kv="int8"),
    ):
        pass
