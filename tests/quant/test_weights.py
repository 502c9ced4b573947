"""The inventory of weights, parameters that are codes, and what matrices are multiplied with."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from quant.layers.blocks import as_batches, blocks
from quant.layers.coded import CodedWeight, held_decoded
from quant.layers.inputs import watched_inputs
from quant.layers.layout import Layout
from quant.layers.matrices import columns
from quant.layers.weights import inventory, weights
from verification.models.table import FAMILIES, family

FORMAT = "int8:g8"


def coded(values: torch.Tensor) -> tuple[CodedWeight, torch.Tensor]:
    """A matrix as a parameter of codes, and what they mean."""
    tensor = quant.quantize(values.detach(), FORMAT)
    made = CodedWeight([tensor], Layout(tensor.shape), torch.float32)
    return made, torch.from_numpy(tensor.dequantize())


@pytest.mark.parametrize("chosen", FAMILIES, ids=lambda entry: entry.name)
def test_every_number_is_counted_once(chosen: object) -> None:
    model = family(getattr(chosen, "name")).build()  # noqa: B009  a parameter of any type
    found = inventory(model)
    own = {id(w.parameter): w.parameter.numel() for w in found.weights.values()}
    total = sum(own.values()) + sum(o.parameter.numel() for o in found.others.values())
    state = {name for name, _ in model.named_buffers()} & model.state_dict().keys()
    buffers = sum(model.get_buffer(name).numel() for name in state)
    assert total == sum(p.numel() for p in model.parameters()) + buffers


def test_paths_and_layouts_of_experts() -> None:
    model = family("gpt-oss").build()
    found = weights(model)
    path = "model.layers.0.mlp.experts.gate_up_proj[3]"
    assert found[path].shape == (96, 32)  # stored as [experts, in, out]
    own = model.get_parameter("model.layers.0.mlp.experts.gate_up_proj")
    np.testing.assert_array_equal(found[path].matrix(), own[3].detach().numpy().T)
    assert found["lm_head"].apart == "head"
    assert found["model.embed_tokens"].apart == "embedding"


def test_torch_takes_codes_for_values() -> None:
    layer = nn.Linear(16, 6)
    layer.weight, values = coded(layer.weight)
    x = torch.randn(2, 5, 16, requires_grad=True)
    wanted = nn.functional.linear(x, values, layer.bias)
    assert torch.equal(layer(x), wanted)
    (gradient,) = torch.autograd.grad(layer(x).sum(), x)
    (expected,) = torch.autograd.grad(wanted.sum(), x)
    assert torch.equal(gradient, expected)
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert isinstance(again.weight, CodedWeight)
        assert torch.equal(again(x), wanted)
    assert torch.equal(layer.state_dict()["weight"], values)
    assert layer.to(torch.bfloat16).weight.dtype is torch.bfloat16
    assert isinstance(layer.weight, CodedWeight)
    with held_decoded(layer):
        assert layer.weight.is_decoded
    assert not layer.weight.is_decoded


def test_codes_are_not_changed_in_place() -> None:
    made, values = coded(torch.randn(4, 16))
    with pytest.raises(RequestError, match="cannot be changed in place"), torch.no_grad():
        made.copy_(values)
    with pytest.raises(RequestError, match="cannot be changed in place"):
        made[0] = 0.0
    with pytest.raises(RequestError, match="stay on the CPU"):
        made.to("meta")


def test_modules_with_a_forward_of_their_own_keep_it() -> None:
    class Doubled(nn.Linear):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(inputs)

    model, x = nn.Sequential(Doubled(16, 4)), torch.randn(3, 16)
    report = quant.quantize_model(model, FORMAT)
    values = torch.from_numpy(report.tensors["0"].dequantize())
    assert isinstance(model[0], Doubled)
    assert torch.equal(model(x), 2 * nn.functional.linear(x, values, model[0].bias))


def test_attention_of_torch() -> None:
    model, x = nn.MultiheadAttention(16, 2, batch_first=True).eval(), torch.randn(1, 5, 16)
    wanted = copy.deepcopy(model)
    report = quant.quantize_model(model, FORMAT)
    assert report.layers.keys() == {"in_proj_weight", "out_proj"}
    with torch.no_grad():
        wanted.in_proj_weight.copy_(torch.from_numpy(report.tensors["in_proj_weight"].dequantize()))
        wanted.out_proj.weight.copy_(torch.from_numpy(report.tensors["out_proj"].dequantize()))
        torch.testing.assert_close(model(x, x, x)[0], wanted(x, x, x)[0])


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(4, 6, 3, padding="same", dilation=2), (2, 4, 9)),
        (nn.Conv2d(3, 6, (3, 2), padding=(1, 0), stride=2), (2, 3, 8, 7)),
        (nn.Conv2d(3, 6, 3, padding=1, padding_mode="circular"), (1, 3, 6, 6)),
        (nn.Conv3d(2, 6, (1, 2, 3), padding=(0, 1, 1), dilation=(1, 2, 1)), (1, 2, 5, 6, 7)),
    ],
)
def test_what_convolutions_multiply_with(layer: nn.Module, shape: tuple[int, ...]) -> None:
    seen: list[torch.Tensor] = []
    x = torch.randn(shape)
    with torch.no_grad(), watched_inputs(layer, weights(layer), lambda _, part: seen.append(part)):
        output = layer(x)
    own = layer.get_parameter("weight").detach()
    product = seen[0] @ own.reshape(len(own), -1).T + layer.get_parameter("bias")
    wanted = output.movedim(1, -1).reshape(-1, len(own))
    torch.testing.assert_close(product, wanted)
    if getattr(layer, "padding_mode") == "zeros":  # noqa: B009  of any convolution
        assert torch.equal(columns(layer, x), seen[0])


def test_modules_that_are_shared_share_their_codes() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(16, 16)
            self.other = self.one
            self.alike = nn.Linear(16, 16)
            self.alike.weight = self.one.weight

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = self.alike(self.other(self.one(inputs)))
            return result

    model = Twice()
    report = quant.quantize_model(model, FORMAT)
    assert list(report.layers) == ["one"]
    assert model.one is model.other
    assert isinstance(model.other, quant.QuantizedLinear)
    assert model.alike.weight is model.one.weight
    assert report.weights == 256
    assert report.other_weights == 32


def test_every_batch_keeps_its_own_arguments() -> None:
    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(8, 8), nn.Linear(8, 8)

        def forward(self, hidden: torch.Tensor, own: torch.Tensor) -> torch.Tensor:
            result: torch.Tensor = hidden + self.down(self.up(hidden)) * own
            return result

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(32, 8)
            self.layers = nn.ModuleList([Layer(), Layer()])

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = self.embed(input_ids)
            for layer in self.layers:
                hidden = layer(hidden, input_ids[..., None].float())
            return hidden

    torch.manual_seed(0)
    model = Model()
    data = [{"input_ids": torch.randint(0, 32, (1, 6))} for _ in range(4)]
    last = list(blocks(model, data))[-1]
    with torch.no_grad():
        for batch, output in zip(data, last.run(), strict=True):
            assert torch.equal(output, model(**batch))


def test_padding_is_in_no_batch() -> None:
    ids = torch.arange(12).view(2, 6)
    mask = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1]])
    first, second = as_batches([{"input_ids": ids, "attention_mask": mask}])
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert first["input_ids"].tolist() == [[0, 1, 2, 3]]
    assert second["input_ids"].tolist() == [[7, 8, 9, 10, 11]]
    assert bool(first["attention_mask"].all())


def test_an_expert_that_no_token_reaches_is_rounded_to_nearest_and_named() -> None:
    model = family("mixtral").build()
    tokens = [{"input_ids": torch.full((1, 24), 5)}]  # one word reaches two experts of four
    expected = quant.quantize_model(family("mixtral").build(), "int4:g16").tensors
    report = quant.quantize_model(model, "int4:g16", method="gptq", calibration=tokens)
    dead = [path for path, said in report.notes.items() if "never reached" in said]
    assert dead
    for path in dead:
        assert np.array_equal(report.tensors[path].codes, expected[path].codes)
    assert any("never reached" in line for line in report.warnings)
