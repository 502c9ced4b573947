"""Perplexity with its standard error over text windows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quant.common import arguments
from quant.common.errors import HwsimError, RequestError
from quant.common.progress import track
from quant.models.preflight import check_window
from quant.models.texts import check_vocabulary, token_ids

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WindowLoss:
    """A loss of text windows, in nat per token that is predicted.

    Attributes:
        window_nll: Mean over the predictions of each window.
        context: Tokens of a window.
    """

    window_nll: tuple[float, ...]
    context: int

    @property
    def ln(self) -> float:
        """Mean over windows."""
        return float(np.mean(self.window_nll))

    @property
    def standard_error(self) -> float:
        """Standard error of ``ln`` over windows; NaN for one window."""
        return standard_error(np.array(self.window_nll))

    @property
    def tokens(self) -> int:
        """Tokens of all windows."""
        return len(self.window_nll) * self.context

    def difference(self, other: WindowLoss) -> tuple[float, float]:
        """Return ``ln - other.ln`` and its standard error, paired window by window.

        Raises:
            RequestError: the other is of another kind, or has other windows.
        """
        arguments.one_of("other", other, type(self), f"a {type(self).__name__}")
        if len(self.window_nll) != len(other.window_nll) or self.context != other.context:
            raise RequestError("paired differences need the same windows")
        delta = np.array(self.window_nll) - np.array(other.window_nll)
        return float(delta.mean()), standard_error(delta)


@dataclass(frozen=True)
class Perplexity(WindowLoss):
    """Mean negative log-likelihood of the next token; each window predicts ``context - 1``."""

    @property
    def value(self) -> float:
        """Perplexity: ``exp(ln)``."""
        return math.exp(self.ln)

    def __float__(self) -> float:
        return self.value


def perplexity(
    model: torch.nn.Module,
    tokens: torch.Tensor | NDArray[np.integer[Any]] | Sequence[int],
    context: int = 1024,
    *,
    bos: int | None = None,
    label: str = "perplexity",
) -> Perplexity:
    """Measure perplexity over non-overlapping windows of ``context`` tokens.

    Computes in the model's own data type, with its own forward: what it does to logits (scales,
    soft-caps) is in. The loss is float32; the logits of 256 positions are in memory at a time,
    of all of a window where a model cannot be cut at its head.

    Args:
        model: A causal language model of transformers.
        tokens: ``[n]`` token ids, a tensor, array or list; a last part shorter than ``context`` is
            not used.
        context: Tokens of a window, at least 2.
        bos: A token that each window begins with, counted in its length (``texts.leading_token``).
        label: What the progress bar says.

    Raises:
        RequestError: no causal language model (the message names the measure of the others: masked,
            conditional, of embeddings), fewer tokens than one window, windows longer than
            the model has positions, or a token that is not in its vocabulary.
        HwsimError: a loss that is not finite; the message names the window.
    """
    import torch

    from quant.layers.coded import held_decoded
    from quant.models.logits import next_token_loss
    from quant.models.words import ALLOWED

    arguments.one_of("model", model, torch.nn.Module, ALLOWED)
    ids, context = token_ids("tokens", tokens), arguments.integer("context", context, 2)
    label = arguments.text("label", label)
    windows, own = windows_of(ids, context, bos)
    check_fit(model, windows)
    losses = []
    with torch.inference_mode(), held_decoded(model):
        measure = next_token_loss(model, windows[0])
        for index, window in enumerate(track(windows, label, len(windows))):
            losses.append(measure(window))
            if not math.isfinite(losses[-1]):
                raise HwsimError(
                    f"{label}: the loss of window {index} (tokens {index * own} to "
                    f"{(index + 1) * own - 1}) is {losses[-1]}: not a finite number"
                )
    return Perplexity(tuple(losses), context)


def windows_of(ids: torch.Tensor, context: int, bos: int | None) -> tuple[torch.Tensor, int]:
    """Return windows ``[n, context]``, and how many tokens of the text each takes.

    Raises:
        RequestError: fewer tokens than one window.
    """
    import torch

    own = context if bos is None else context - 1
    if ids.numel() < own:
        raise RequestError(f"{ids.numel()} tokens: at least one window of {context} is needed")
    windows = ids[: ids.numel() // own * own].view(-1, own)
    if bos is not None:
        first = arguments.integer("bos", bos, 0)
        windows = torch.nn.functional.pad(windows, (1, 0), value=first)
    return windows, own


def check_fit(model: torch.nn.Module, windows: torch.Tensor) -> None:
    """Refuse windows that a model has too few positions or a too small vocabulary for.

    Raises:
        RequestError: with both numbers.
    """
    data: dict[str, Any] = getattr(getattr(model, "config", None), "to_dict", dict)()
    check_window(data, int(windows.shape[1]))
    check_vocabulary(model, windows)


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean; NaN for one value."""
    if values.size < 2:
        return math.nan
    return float(values.std(ddof=1) / math.sqrt(values.size))
