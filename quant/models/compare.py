"""A model unquantized, and in each format by each method, side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

from quant.models.evaluate import Perplexity, perplexity
from quant.plan import Plan

if TYPE_CHECKING:
    pass


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

    from quant.methods.registry import get_method
    from quant.models.activations import rounded_activations
    from quant.models.apply import quantized
    from quant.models.load import load_model
    from quant.models.texts import calibration_tokens, evaluation_tokens, leading_token

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
