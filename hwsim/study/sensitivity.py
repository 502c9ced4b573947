"""How much each format of each layer is expected to cost, in nat per token, from calibration data.

Second-order estimate around the unquantized model with a Kronecker-factored Fisher matrix
(K-FAC, Martens and Grosse, ICML 2015): for the change ``D = W_q - W`` of a layer,
``0.5 * sum_r G[r] * D[r] H D[r]^T`` with ``H = E[x x^T]`` over the layer's inputs and
``G[r] = E[g_r^2]`` over the gradients of the loss by its outputs. One forward and one backward pass
serve every layer and every format. An expert's ``H`` is the mean over the tokens that it was given,
its ``G`` over all tokens; one that got none is expected to lose what others of its stack do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import pandas as pd
import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from hwsim.study import fingerprint
from hwsim.study.kept import check_losses, keep, load_kept
from quant.common.cache import cache_dir
from quant.common.errors import RequestError
from quant.common.progress import say, track
from quant.common.versions import ROUNDING, made_by
from quant.formats.spec import FormatSpec
from quant.layers.blocks import CONTEXT, run_model
from quant.layers.gradients import watched_gradients
from quant.layers.hooks import watched
from quant.layers.inputs import watched_inputs
from quant.layers.matrices import columns
from quant.layers.weights import Weight, weights
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
        layers: Paths of matrices: linear layers, experts.
        formats: Formats; their texts name the columns. One that is stored as it is costs nothing.

    Raises:
        RequestError: less than one window of tokens, a layer that is not linear or that
            calibration never reached (but a dead expert), or a weight with NaN or Inf.
    """
    key = cache_key(model, tokens, layers, formats)
    saved = None if key is None else cache_dir() / "sensitivity" / f"{key}.json"
    names = [str(spec) for spec in formats]
    if saved is not None and (kept := load_kept(saved, list(layers), names)) is not None:
        return kept
    statistics = calibrate(model, tokens, layers)
    known = weights(model)
    rows: dict[str, dict[str, float]] = {}
    for path in track(layers, "sensitivities", len(layers)):
        weight = torch.from_numpy(known[path].matrix())
        rows[path] = {str(spec): _cost(path, weight, spec, statistics[path]) for spec in formats}
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
    known = weights(model)
    chosen = {path: _matrix(path, known) for path in layers}
    hooked = {path: weight.module for path, weight in chosen.items() if weight.is_layer}
    sums = _Sums()
    frozen = [p for p in model.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad = False
    try:
        _run(model, windows, sums, hooked, {p: w for p, w in chosen.items() if p not in hooked})
        # What multiplies with a layer's weight without calling the layer is seen by its memory.
        unseen = {path: chosen[path] for path in hooked if not sums.has(path)}
        if unseen:
            _run(model, windows, sums, {}, unseen)
    finally:
        for parameter in frozen:
            parameter.requires_grad = True
    return sums.statistics(chosen, windows.numel())


def _run(
    model: nn.Module,
    windows: torch.Tensor,
    sums: _Sums,
    hooked: Mapping[str, nn.Module],
    others: Mapping[str, Weight],
) -> None:
    """Run all windows, and sum up what layers and other matrices see and give."""

    def add_inputs(path: str, seen: torch.Tensor) -> None:
        sums.add_inputs(path, columns(hooked[path], seen), getattr(hooked[path], "groups", 1))

    def add_gradients(path: str, seen: torch.Tensor) -> None:
        is_image = isinstance(hooked[path], _ConvNd)
        sums.add_gradients(path, seen.movedim(1, -1) if is_image else seen)

    with ExitStack() as stack:
        stack.enter_context(watched(hooked, inputs=add_inputs, gradients=add_gradients))
        if others:
            stack.enter_context(watched_gradients(model, others, sums.add_gradients))
            stack.enter_context(watched_inputs(model, others, sums.add_own_inputs))
        for window in track(windows, "calibrating", len(windows)):
            _backward(model, window)


class _Sums:
    """Sums over tokens: ``x x^T`` of inputs, squares of gradients; and tokens of a matrix's own."""

    def __init__(self) -> None:
        self.inputs: dict[str, torch.Tensor] = {}
        self.gradients: dict[str, torch.Tensor] = {}
        self.tokens: dict[str, int] = {}

    def has(self, path: str) -> bool:
        """Whether both passes reached a matrix."""
        return path in self.inputs and path in self.gradients

    def add_inputs(self, path: str, x: torch.Tensor, groups: int = 1) -> None:
        """Add ``[n, in]``; a convolution's groups share one sum, their mean."""
        product = x.T @ x
        product = product if groups == 1 else product / groups
        self.inputs[path] = self.inputs[path] + product if path in self.inputs else product

    def add_own_inputs(self, path: str, x: torch.Tensor) -> None:
        """Add the inputs of a matrix that not every token goes through; zeros are no tokens."""
        self.add_inputs(path, x)
        self.tokens[path] = self.tokens.get(path, 0) + int((x != 0).any(1).sum())

    def add_gradients(self, path: str, seen: torch.Tensor) -> None:
        """Add ``[..., out]``."""
        squares = seen.detach().flatten(0, -2).square().sum(0)
        before = self.gradients.get(path)
        self.gradients[path] = squares if before is None else before + squares

    def statistics(self, chosen: Mapping[str, Weight], count: int) -> dict[str, Statistics]:
        """Return means over ``count`` tokens, of inputs over those of the matrix.

        ``G`` is of all tokens, so that an expert's share of them weighs its loss.

        Raises:
            RequestError: a matrix that was never reached and is no expert beside others that were.
        """
        found = {
            path: Statistics(
                self.inputs[path] / max(1, self.tokens.get(path, count)),
                self.gradients[path] / count,
            )
            for path in chosen
            if self.has(path)
        }
        stacks: dict[object, list[Statistics]] = {}
        for path, known in found.items():
            if chosen[path].layout.is_stack:
                stacks.setdefault(chosen[path].owners, []).append(known)
        dead = [path for path in chosen if path not in found]
        for path in dead:
            others = stacks.get(chosen[path].owners)
            if not others:
                raise RequestError(f"layer {path}: calibration never reached it")
            found[path] = _mean(others)
        if dead:
            say(
                f"experts that calibration never reached: {len(dead)}, the first {dead[0]}; "
                "their losses are expected as the mean of their stack's others"
            )
        return {path: found[path] for path in chosen}


def _mean(statistics: Sequence[Statistics]) -> Statistics:
    inputs = torch.stack([known.inputs for known in statistics]).mean(0)
    return Statistics(inputs, torch.stack([known.gradients for known in statistics]).mean(0))


def total(frame: pd.DataFrame, formats: Mapping[str, FormatSpec]) -> float:
    """Return the expected increase of ln(perplexity) with one format for each layer of a table.

    Formats of layers that the table has not (the head) play no part.

    Raises:
        KeyError: a layer of the table without a format.
    """
    table = frame.to_dict("index")
    return float(sum(table[path][str(formats[path])] for path in frame.index))


def _matrix(path: str, known: Mapping[str, Weight]) -> Weight:
    if path not in known or isinstance(known[path].module, nn.Conv2d):
        raise RequestError(f"layer {path}: a linear layer of the model is needed")
    return known[path]


def _backward(model: nn.Module, window: torch.Tensor) -> None:
    """Gradients of the summed loss of one window by every layer's outputs."""
    embed: nn.Module = model.get_input_embeddings()  # type: ignore[operator]  # transformers' own
    # Frozen weights make no graph by themselves: it begins at what the embeddings give. A copy,
    # since some models scale it in place.
    hook = embed.register_forward_hook(
        lambda _module, _args, output: output.requires_grad_().clone()
    )
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
