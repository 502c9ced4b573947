"""How much each format of each layer is expected to cost, in nat per token, from calibration data.

Second-order estimate around the unquantized model with a Kronecker-factored Fisher matrix
(K-FAC, Martens and Grosse, ICML 2015): for the change ``D = W_q - W`` of a layer,
``0.5 * sum_r G[r] * D[r] H D[r]^T`` with ``H = E[x x^T]`` over the layer's inputs and
``G[r] = E[g_r^2]`` over the gradients of the loss by its outputs. One forward and one backward pass
serve every layer and every format.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import quant
from quant.common.cache import cache_dir
from quant.common.errors import RequestError
from quant.common.files import write_text
from quant.common.progress import track
from quant.models.apply import linear_layers

CONTEXT = 512


@dataclass(frozen=True)
class Statistics:
    """What calibration knows of a layer: ``H [in, in]`` and ``G [out]``."""

    inputs: torch.Tensor
    gradients: torch.Tensor


def sensitivities(
    model: nn.Module, tokens: torch.Tensor, layers: Sequence[str], formats: Sequence[str]
) -> pd.DataFrame:
    """Return the expected increase of ln(perplexity), ``[layers, formats]``.

    Args:
        model: The unquantized model, float32.
        tokens: Calibration tokens; whole windows of 512 are used.
        layers: Module paths of linear layers.
        formats: ``NAME:gGROUP:SCALE`` strings.

    Raises:
        RequestError: less than one window of tokens, or a weight with NaN or Inf.
    """
    key = _key(model, tokens, layers, formats)
    saved = cache_dir() / "sensitivity" / f"{key}.csv"
    if saved.is_file():
        return pd.read_csv(saved, index_col=0)
    statistics = calibrate(model, tokens, layers)
    modules = linear_layers(model)
    rows: dict[str, dict[str, float]] = {}
    for path in track(layers, "sensitivities", len(layers)):
        weight = modules[path].weight
        assert isinstance(weight, torch.Tensor)
        rows[path] = {
            text: _cost(path, weight.detach(), text, statistics[path]) for text in formats
        }
    frame = pd.DataFrame.from_dict(rows, orient="index")[list(formats)]
    _save(frame, saved)
    return frame


def calibrate(
    model: nn.Module, tokens: torch.Tensor, layers: Sequence[str]
) -> dict[str, Statistics]:
    """Run the model forwards and backwards over the calibration text and collect H and G."""
    if tokens.numel() < CONTEXT:
        raise RequestError(f"{tokens.numel()} calibration tokens: at least {CONTEXT} are needed")
    windows = tokens[: tokens.numel() // CONTEXT * CONTEXT].view(-1, CONTEXT)
    modules = linear_layers(model)
    sums: dict[str, list[torch.Tensor | float]] = {path: [0.0, 0.0] for path in layers}
    hooks = [modules[path].register_forward_pre_hook(_sum_inputs(sums[path])) for path in layers]
    hooks += [
        modules[path].register_full_backward_hook(_sum_gradients(sums[path])) for path in layers
    ]
    frozen = [p for p in model.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad = False
    try:
        for window in track(windows, "calibrating", len(windows)):
            _backward(model, window)
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in frozen:
            parameter.requires_grad = True
    count = windows.numel()
    done = {}
    for path, (inputs, gradients) in sums.items():
        assert isinstance(inputs, torch.Tensor)
        assert isinstance(gradients, torch.Tensor)
        done[path] = Statistics(inputs / count, gradients / count)
    return done


def _backward(model: nn.Module, window: torch.Tensor) -> None:
    """Gradients of the summed loss of one window by every layer's outputs."""
    embed = model.get_input_embeddings()  # type: ignore[operator]
    inputs = embed(window[None]).detach().requires_grad_()
    logits = model(inputs_embeds=inputs, use_cache=False).logits[0, :-1].float()
    loss = nn.functional.cross_entropy(logits, window[1:], reduction="sum")
    torch.autograd.backward(loss)


def _sum_inputs(into: list[torch.Tensor | float]) -> Callable[..., None]:
    def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
        x = args[0].detach().reshape(-1, args[0].shape[-1])
        into[0] = into[0] + x.T @ x

    return hook


def _sum_gradients(into: list[torch.Tensor | float]) -> Callable[..., None]:
    def hook(_module: nn.Module, _inputs: Any, outputs: tuple[Any, ...]) -> None:  # noqa: ANN401
        into[1] = into[1] + outputs[0].detach().flatten(0, -2).square().sum(0)

    return hook


def _cost(path: str, weight: torch.Tensor, text: str, known: Statistics) -> float:
    if quant.parse_spec(text).format.is_plain:
        return 0.0
    try:
        tensor = quant.quantize(weight, text)
    except RequestError as error:
        raise RequestError(f"layer {path}: {error}") from None
    change = torch.from_numpy(tensor.dequantize()) - weight.float()
    by_row = ((change @ known.inputs) * change).sum(1)
    return 0.5 * float(by_row @ known.gradients)


def _key(model: nn.Module, tokens: torch.Tensor, *lists: Sequence[str]) -> str:
    """A hash of everything the result depends on: weights, text, layers, formats."""
    digest = hashlib.sha256(b"kfac/1")
    for parameter in model.parameters():
        digest.update(parameter.detach().flatten()[:4096].float().numpy().tobytes())
        digest.update(np.float64(parameter.detach().double().sum()).tobytes())
    digest.update(tokens.numpy().tobytes())
    digest.update(repr(lists).encode())
    return digest.hexdigest()[:32]


def _save(frame: pd.DataFrame, path: Path) -> None:
    text = io.StringIO()
    frame.to_csv(text)
    write_text(path, text.getvalue())


def total(frame: pd.DataFrame, formats: Mapping[str, str]) -> float:
    """Return the expected increase of ln(perplexity) of a plan."""
    known = [path for path in formats if path in frame.index]
    table = frame.to_dict("index")
    return float(sum(table[path][formats[path]] for path in known))
