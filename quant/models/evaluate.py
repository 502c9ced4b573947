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
from quant.models.texts import token_ids

if TYPE_CHECKING:
    import torch

HEAD_ROWS = 256
"""Positions whose logits are held in memory at once."""


@dataclass(frozen=True)
class Perplexity:
    """Mean negative log-likelihood of text windows, in nat per token.

    Attributes:
        window_nll: Mean over the predictions of each window.
        context: Tokens of a window; each predicts ``context - 1``.
    """

    window_nll: tuple[float, ...]
    context: int

    @property
    def ln(self) -> float:
        """Mean over windows: the logarithm of the perplexity."""
        return float(np.mean(self.window_nll))

    @property
    def value(self) -> float:
        """Perplexity."""
        return math.exp(self.ln)

    @property
    def standard_error(self) -> float:
        """Standard error of ``ln`` over windows; NaN for one window."""
        return _standard_error(np.array(self.window_nll))

    @property
    def tokens(self) -> int:
        """Tokens of all windows."""
        return len(self.window_nll) * self.context

    def __float__(self) -> float:
        return self.value

    def difference(self, other: Perplexity) -> tuple[float, float]:
        """Return ``ln - other.ln`` and its standard error, paired window by window.

        Raises:
            RequestError: the other has other windows.
        """
        arguments.one_of("other", other, Perplexity, "a Perplexity")
        if len(self.window_nll) != len(other.window_nll) or self.context != other.context:
            raise RequestError("paired differences need the same windows")
        delta = np.array(self.window_nll) - np.array(other.window_nll)
        return float(delta.mean()), _standard_error(delta)


def perplexity(
    model: torch.nn.Module,
    tokens: torch.Tensor | NDArray[np.integer[Any]] | Sequence[int],
    context: int = 1024,
    *,
    bos: int | None = None,
    label: str = "perplexity",
) -> Perplexity:
    """Measure perplexity over non-overlapping windows of ``context`` tokens.

    Computes in the model's own data type; logits and loss are float32.

    Args:
        model: A causal language model of transformers.
        tokens: ``[n]`` token ids, a tensor, array or list; a last part shorter than ``context`` is
            not used.
        context: Tokens of a window, at least 2.
        bos: A token that each window begins with, counted in its length (``texts.leading_token``).
        label: What the progress bar says.

    Raises:
        RequestError: no causal language model, fewer tokens than one window, windows longer than
            the model has positions, or a token that is not in its vocabulary.
        HwsimError: a loss that is not finite; the message names the window.
    """
    import torch

    _check_model(model)
    ids, context = token_ids("tokens", tokens), arguments.integer("context", context, 2)
    label = arguments.text("label", label)
    own = context if bos is None else context - 1
    if ids.numel() < own:
        raise RequestError(f"{ids.numel()} tokens: at least one window of {context} is needed")
    windows = ids[: ids.numel() // own * own].view(-1, own)
    if bos is not None:
        first = arguments.integer("bos", bos, 0)
        windows = torch.nn.functional.pad(windows, (1, 0), value=first)
    _check_fit(model, windows)
    losses = []
    with torch.inference_mode():
        for index, window in enumerate(track(windows, label, len(windows))):
            losses.append(_window_nll(model, window))
            if not math.isfinite(losses[-1]):
                raise HwsimError(
                    f"{label}: the loss of window {index} (tokens {index * own} to "
                    f"{(index + 1) * own - 1}) is {losses[-1]}: not a finite number"
                )
    return Perplexity(tuple(losses), context)


def _check_model(model: object) -> None:
    """Refuse what has no decoder and head to run one after the other."""
    import torch

    allowed = "a causal language model of transformers (with model and lm_head)"
    parts = dict(arguments.one_of("model", model, torch.nn.Module, allowed).named_children())
    if missing := {"model", "lm_head"} - parts.keys():
        kind = type(model).__name__
        raise RequestError(f"model {kind} has no {', '.join(sorted(missing))}: {allowed} is needed")


def _check_fit(model: torch.nn.Module, windows: torch.Tensor) -> None:
    """Refuse windows that a model has too few positions or a too small vocabulary for."""
    config = getattr(model, "config", None)
    data: dict[str, Any] = getattr(config, "to_dict", dict)()
    check_window(data, int(windows.shape[1]))
    size = getattr(config, "vocab_size", None)
    if isinstance(size, int) and windows.numel() and int(windows.max()) >= size:
        most = int(windows.max())
        raise RequestError(f"token {most} is not allowed: the model's vocabulary has {size}")


def _window_nll(model: torch.nn.Module, window: torch.Tensor) -> float:
    """Mean loss of one window; the head runs on few positions at a time."""
    import torch

    backbone, head = model.get_submodule("model"), model.get_submodule("lm_head")
    hidden = backbone(input_ids=window[None], use_cache=False).last_hidden_state[0, :-1]
    total = 0.0
    for start in range(0, hidden.shape[0], HEAD_ROWS):
        logits = head(hidden[start : start + HEAD_ROWS]).float()
        target = window[start + 1 : start + 1 + logits.shape[0]]
        total += float(torch.nn.functional.cross_entropy(logits, target, reduction="sum"))
    return total / int(hidden.shape[0])


def _standard_error(values: NDArray[np.float64]) -> float:
    if values.size < 2:
        return math.nan
    return float(values.std(ddof=1) / math.sqrt(values.size))
