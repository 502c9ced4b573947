"""Sensitivities take a model as it is: no family's way through its layers is assumed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from hwsim.study import sensitivity
from hwsim.study.sensitivity import calibrate
from quant.layers.matrices import columns, linear_layers
from tests.quant.tiny import one_thread, tiny, tokens

CONTEXT = 24
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {}, "gemma2": {}, "cohere": {}, "gpt2": {}, "gpt_neox": {"intermediate_size": 48},
    "falcon": {}, "falcon new": {}, "bloom": {}, "opt": {}, "mpt": {}, "phi": {},
    "ctrl": {"dff": 48}, "recurrent_gemma": {"lru_width": 32},
}  # fmt: skip
"""CTRL scales its embeddings in place, Falcon adds to a layer's output in place."""


@pytest.mark.parametrize("name", FAMILIES)
def test_statistics_are_those_of_the_models_own_loss(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity, "CONTEXT", CONTEXT)
    model, ids = tiny(name, **FAMILIES[name]), tokens(CONTEXT)[0]
    layers = [
        path for path, layer in linear_layers(model).items()
        if layer is not model.get_output_embeddings() and not isinstance(layer, nn.Conv1d)
    ]  # fmt: skip
    with one_thread():
        found = calibrate(model, ids, layers)
        for path in (layers[0], layers[-1]):
            inputs, gradients = by_hand(model, ids, path)
            assert torch.allclose(found[path].inputs, inputs, rtol=1e-4, atol=1e-6)
            assert torch.allclose(found[path].gradients, gradients, rtol=1e-4, atol=1e-9)
            assert gradients.max() > 0


def by_hand(model: Any, ids: torch.Tensor, path: str) -> tuple[torch.Tensor, torch.Tensor]:  # noqa: ANN401  transformers
    """H and G of one layer, by what is added to its output."""
    layer, seen = model.get_submodule(path), []

    def add(module: nn.Module, args: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
        seen.append((args[0].detach(), torch.zeros_like(output).requires_grad_()))
        return output + seen[-1][1]

    hook = layer.register_forward_hook(add)
    loss = model(input_ids=ids[None], labels=ids[None], use_cache=False).loss
    hook.remove()
    x, added = seen[0]
    (gradient,) = torch.autograd.grad(loss * (CONTEXT - 1), added)
    x = columns(layer, x)
    return x.T @ x / CONTEXT, gradient.flatten(0, -2).square().sum(0) / CONTEXT
