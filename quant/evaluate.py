"""Perplexity with its standard error over text windows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.common.progress import track
from quant.plan import Plan

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
        """Return ``ln - other.ln`` and its standard error, paired window by window."""
        if len(self.window_nll) != len(other.window_nll) or self.context != other.context:
            raise RequestError("paired differences need the same windows")
        delta = np.array(self.window_nll) - np.array(other.window_nll)
        return float(delta.mean()), _standard_error(delta)


def perplexity(
    model: torch.nn.Module,
    tokens: torch.Tensor,
    context: int = 1024,
    *,
    bos: int | None = None,
    label: str = "perplexity",
) -> Perplexity:
    """Measure perplexity over non-overlapping windows of ``context`` tokens.

    Computes in the model's own data type; logits and loss are float32.

    Args:
        model: A causal language model of transformers.
        tokens: ``[n]`` token ids; a last part shorter than ``context`` is not used.
        context: Tokens of a window, at least 2.
        bos: A token that each window begins with, counted in its length (``data.leading_token``).
        label: What the progress bar says.

    Raises:
        RequestError: fewer tokens than one window.
    """
    import torch

    own = context if bos is None else context - 1
    if context < 2 or tokens.numel() < own:
        raise RequestError(f"{tokens.numel()} tokens: at least one window of {context} is needed")
    windows = tokens[: tokens.numel() // own * own].view(-1, own)
    if bos is not None:
        windows = torch.nn.functional.pad(windows, (1, 0), value=bos)
    with torch.inference_mode():
        losses = [_window_nll(model, window) for window in track(windows, label, len(windows))]
    return Perplexity(tuple(losses), context)


def compare(
    model: str,
    choices: Mapping[str, str | Plan],
    *,
    methods: Sequence[str],
    tokens: int,
    context: int,
    calibration: int = 8192,
    dtype: str = "bfloat16",
    activations: str | None = None,
    kv: str | None = None,
) -> list[dict[str, Any]]:
    """Measure a model unquantized, and in each format by each method.

    Weights are rounded from float32, the model computes in ``dtype``.

    Args:
        model: As ``load_model`` takes it.
        choices: Label -> format or plan.
        methods: Names; empty for the plan's own.
        tokens: Evaluation tokens.
        context: Tokens of a window.
        calibration: Calibration tokens, for the methods that need them.
        dtype: What the model computes in.
        activations: Format of the inputs of layers, None: not rounded.
        kv: Format of keys and values, None: not rounded.

    Returns:
        A row each: ``format, method, perplexity, ln_ppl, se, delta_ln_ppl, delta_se,
        effective_bits``; deltas are to the unquantized model, paired by window.
    """
    import torch

    from quant.activations import rounded_activations
    from quant.apply import quantized
    from quant.data import calibration_tokens, evaluation_tokens, leading_token
    from quant.methods import get_method
    from quant.models import load_model

    loaded, tokenizer = load_model(model)
    text, bos = evaluation_tokens(tokenizer, tokens), leading_token(tokenizer)

    def measured(label: str) -> Perplexity:
        copy = deepcopy(loaded).to(getattr(torch, dtype))
        with rounded_activations(copy, activations, kv):
            return perplexity(copy, text, context, bos=bos, label=label)

    base = perplexity(deepcopy(loaded).to(getattr(torch, dtype)), text, context, bos=bos)
    rows = [_row("none", "", base, base)]
    if activations or kv:
        rows.append(_row("none", "", measured("activations alone"), base))
    for label, choice in choices.items():
        for method in methods:
            entry = get_method(method or getattr(choice, "method", "rtn"))
            seen = None
            if entry.calibration != "none":
                seen = calibration_tokens(tokenizer, calibration)
            with quantized(loaded, choice, method=method, calibration=seen) as report:
                found = measured(f"{label} {method}")
            bits = {"effective_bits": report.effective_bits}
            rows.append(_row(label, entry.name, found, base) | bits)
    return rows


def _row(label: str, method: str, found: Perplexity, base: Perplexity) -> dict[str, Any]:
    delta, error = found.difference(base)
    row = {"format": label, "method": method, "perplexity": found.value, "ln_ppl": found.ln}
    row |= {"se": _finite(found.standard_error)}
    return row if found is base else row | {"delta_ln_ppl": delta, "delta_se": _finite(error)}


def _finite(value: float) -> float | None:
    """JSON has no NaN: the standard error of a single window is unknown."""
    return value if math.isfinite(value) else None


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
