"""How much each format of each layer is expected to cost, in nat per token, from calibration data.

Second-order estimate around the unquantized model with a Kronecker-factored Fisher matrix
(K-FAC, Martens and Grosse, ICML 2015): for the change ``D = W_q - W`` of a layer,
``0.5 * sum_r G[r] * D[r] H D[r]^T`` with ``H = E[x x^T]`` over the layer's inputs and
``G[r] = E[g_r^2]`` over the gradients of the loss by its outputs. One forward and one backward pass
serve every layer and every format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn

from hwsim.study import fingerprint
from hwsim.study.kept import check_losses, keep, load_kept
from quant.common.cache import cache_dir
from quant.common.errors import RequestError
from quant.common.progress import track
from quant.common.versions import ROUNDING, made_by
from quant.formats.spec import FormatSpec
from quant.layers.blocks import CONTEXT, run_model
from quant.layers.hooks import watched
from quant.layers.matrices import columns, linear_layers, matrix
from quant.tensors.quantize import quantize

SCHEMA = "kfac/2"
"""The estimate, its rounding (to nearest) and the file that keeps it."""


@dataclass(frozen=True)
class Statistics:
    """What calibration knows of a layer: ``H [in, in]`` and ``G [out]``."""

    inputs: torch.Tensor
    gradients: torch.Tensor


def sensitivities(
    model: nn.Module, tokens: torch.Tensor, layers: Sequence[str], formats: Sequence[FormatSpec]
) -> pd.DataFrame:
    """Return the expected increase of ln(perplexity), ``[layers, formats]``.

    Results are kept on disk, under a key of all that they depend on (``cache_key``).

    Args:
        model: The unquantized model, float32.
        tokens: Calibration tokens; whole windows of 512 are used.
        layers: Module paths of linear layers.
        formats: Formats; their texts name the columns. One that is stored as it is costs nothing.

    Raises:
        RequestError: less than one window of tokens, a layer that is not linear or that
            calibration never reached, or a weight with NaN or Inf.
    """
    key = cache_key(model, tokens, layers, formats)
    saved = None if key is None else cache_dir() / "sensitivity" / f"{key}.json"
    names = [str(spec) for spec in formats]
    if saved is not None and (kept := load_kept(saved, list(layers), names)) is not None:
        return kept
    statistics = calibrate(model, tokens, layers)
    modules = linear_layers(model)
    rows: dict[str, dict[str, float]] = {}
    for path in track(layers, "sensitivities", len(layers)):
        weight = torch.from_numpy(matrix(modules[path]))
        known = statistics[path]
        rows[path] = {str(spec): _cost(path, weight, spec, known) for spec in formats}
    frame = pd.DataFrame.from_dict(rows, orient="index")[names]
    check_losses(frame)
    if saved is not None:
        keep(frame, saved)
    return frame


def cache_key(
    model: nn.Module, tokens: torch.Tensor, layers: Sequence[str], formats: Sequence[FormatSpec]
) -> str | None:
    """Return a hash of all that ``sensitivities`` depends on.

    The model's weights, settings and code, the tokens, the layers, what each format is (its
    levels, not only its name), this estimate, the code that rounds, and the libraries' versions.

    Returns:
        32 hexadecimal digits; None where an object's code is in no file (typed into a shell), so
        that nobody can tell whether it is the same.
    """
    try:
        return fingerprint.key(
            {
                "estimate": [SCHEMA, CONTEXT, fingerprint.describe(calibrate)],
                "libraries": made_by(ROUNDING),
                "tokens": fingerprint.tensor_facts({"": tokens}),
                "layers": list(layers),
                "formats": [fingerprint.format_facts(spec) for spec in formats],
                "model": fingerprint.model_facts(model),
            }
        )
    except (fingerprint.NoSourceError, RecursionError):
        return None


def calibrate(
    model: nn.Module, tokens: torch.Tensor, layers: Sequence[str]
) -> dict[str, Statistics]:
    """Run the model forwards and backwards over the calibration text and collect H and G.

    Raises:
        RequestError: as ``sensitivities``.
    """
    if tokens.numel() < CONTEXT:
        raise RequestError(f"{tokens.numel()} calibration tokens: at least {CONTEXT} are needed")
    windows = tokens[: tokens.numel() // CONTEXT * CONTEXT].view(-1, CONTEXT)
    modules = {path: _linear(path, linear_layers(model)) for path in layers}
    inputs: dict[str, torch.Tensor] = {}
    gradients: dict[str, torch.Tensor] = {}

    def add_inputs(path: str, seen: torch.Tensor) -> None:
        x = columns(modules[path], seen)
        product = x.T @ x
        inputs[path] = inputs[path] + product if path in inputs else product

    def add_gradients(path: str, seen: torch.Tensor) -> None:
        squares = seen.detach().flatten(0, -2).square().sum(0)
        gradients[path] = gradients[path] + squares if path in gradients else squares

    frozen = [p for p in model.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad = False
    try:
        with watched(modules, inputs=add_inputs, gradients=add_gradients):
            for window in track(windows, "calibrating", len(windows)):
                _backward(model, window)
    finally:
        for parameter in frozen:
            parameter.requires_grad = True
    for path in layers:
        if path not in inputs or path not in gradients:
            raise RequestError(f"layer {path}: calibration never reached it")
    count = windows.numel()
    return {path: Statistics(inputs[path] / count, gradients[path] / count) for path in layers}


def total(frame: pd.DataFrame, formats: Mapping[str, FormatSpec]) -> float:
    """Return the expected increase of ln(perplexity) with one format for each layer of a table.

    Formats of layers that the table has not (the head) play no part.

    Raises:
        KeyError: a layer of the table without a format.
    """
    table = frame.to_dict("index")
    return float(sum(table[path][str(formats[path])] for path in frame.index))


def _linear(path: str, known: Mapping[str, nn.Module]) -> nn.Module:
    if path not in known or isinstance(known[path], nn.Conv2d):
        raise RequestError(f"layer {path}: a linear layer of the model is needed")
    return known[path]


def _backward(model: nn.Module, window: torch.Tensor) -> None:
    """Gradients of the summed loss of one window by every layer's outputs."""
    embed: nn.Module = model.get_input_embeddings()  # type: ignore[operator]  # transformers' own
    # Frozen weights make no graph by themselves: it begins at what the embeddings give.
    hook = embed.register_forward_hook(lambda _module, _args, output: output.requires_grad_())
    try:
        logits = run_model(model, {"input_ids": window[None]}).logits[0, :-1].float()
    finally:
        hook.remove()
    loss = nn.functional.cross_entropy(logits, window[1:], reduction="sum")
    torch.autograd.backward(loss)


def _cost(path: str, weight: torch.Tensor, spec: FormatSpec, known: Statistics) -> float:
    if spec.format.is_plain:
        return 0.0
    try:
        tensor = quantize(weight, spec)
    except RequestError as error:
        raise RequestError(f"layer {path}: {error}") from None
    change = torch.from_numpy(tensor.dequantize()) - weight
    by_row = ((change @ known.inputs) * change).sum(1)
    return 0.5 * float(by_row @ known.gradients)
