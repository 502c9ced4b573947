"""Blocks and hooks: what methods see of a model."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import quant
from quant.common.errors import RequestError
from quant.layers.blocks import blocks
from quant.layers.hooks import Watcher, watched
from quant.layers.matrices import linear_layers
from quant.layers.notes import gathered
from quant.layers.statistics import layer_statistics


def sequence() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 4))


def test_watching_ends_with_the_block() -> None:
    model, x = sequence(), torch.randn(5, 32, requires_grad=True)
    seen: dict[str, list[tuple[str, tuple[int, ...]]]] = {"in": [], "out": [], "gradient": []}
    layers = linear_layers(model)

    def watcher(kind: str) -> Watcher:
        return lambda name, tensor: seen[kind].append((name, tuple(tensor.shape)))

    with watched(
        layers, inputs=watcher("in"), outputs=watcher("out"), gradients=watcher("gradient")
    ):
        torch.autograd.backward(model(x).square().sum())
    assert seen["in"] == [("0", (5, 32)), ("2", (5, 16))]
    assert seen["out"] == [("0", (5, 16)), ("2", (5, 4))]
    assert seen["gradient"] == [("2", (5, 4)), ("0", (5, 16))]

    def refuse(name: str, tensor: torch.Tensor) -> None:
        raise RequestError(f"{name}: {tensor.dtype}")

    with pytest.raises(RequestError, match=r"0: torch\.float32"), watched(layers, inputs=refuse):
        model(x)
    model(x)
    assert len(seen["in"]) == 2


def test_statistics_are_those_of_the_inputs() -> None:
    model, data = sequence(), [torch.randn(6, 32), torch.randn(10, 32)]
    (block,) = blocks(model, data)
    known = layer_statistics(block, ["0"])["0"]
    x = torch.cat(data).double().numpy()
    np.testing.assert_allclose(known.hessian, 2 / 16 * x.T @ x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(known.mean_abs, np.abs(x).mean(axis=0), rtol=1e-5)
    assert np.array_equal(known.max_abs, np.abs(x).max(axis=0).astype(np.float32))
    assert known.count == 16
    with pytest.raises(RequestError, match="layer 2: its calibration inputs hold NaN or Inf"):
        layer_statistics(next(blocks(model, [torch.full((2, 32), torch.inf)])), ["2"])
    with gathered() as notes:
        assert layer_statistics(next(blocks(model, None)), ["0"]) == {}
    assert notes == {"0": "calibration never reached it: rounded to nearest"}


def test_blocks_without_calibration_have_no_inputs() -> None:
    layers = nn.ModuleList([sequence(), sequence()])
    for model, paths in ((layers, ["0", "1"]), (nn.ModuleDict({"m": layers}), ["m.0", "m.1"])):
        seen = list(blocks(model, None))
        expected = paths if paths[0] != "0" else [""]
        assert [block.path for block in seen] == expected
        assert all(block.inputs == [] == block.run() for block in seen)


def test_a_model_without_a_list_of_blocks_has_references_too() -> None:
    model = sequence()
    data = [torch.randn(256, 32) * torch.linspace(0.1, 3, 32) for _ in range(8)]
    errors = {}
    with torch.no_grad():
        (block,) = blocks(model, data, references=True)
        assert all(torch.equal(r, model(x)) for r, x in zip(block.references, data, strict=True))
        wanted = model(data[0])
        for method in ("rtn", "omniquant"):
            with quant.quantized(model, "bitmod3:g16", method=method, calibration=data):
                errors[method] = float((model(data[0]) - wanted).square().mean())
    assert errors["omniquant"] < errors["rtn"]
