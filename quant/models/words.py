"""The logits that a model gives for tokens, by one call of its own forward."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from quant.common.errors import RequestError
from quant.layers.blocks import run_model

ALLOWED = "a causal language model of transformers"


def whole_logits(model: nn.Module, tokens: torch.Tensor, allowed: str = ALLOWED) -> torch.Tensor:
    """Return the logits of all positions, ``[n, words]``, by one call of the model.

    Raises:
        RequestError: the model gives none; ``allowed`` says what is needed.
    """
    logits = getattr(called(model, tokens, allowed), "logits", None)
    if not isinstance(logits, torch.Tensor) or logits.shape[:2] != (1, len(tokens)):
        kind = type(model).__name__
        raise RequestError(
            f"model {kind} gives no logits of words: {allowed} is needed; "
            "quant.embedding_similarity compares hidden states"
        )
    return logits[0]


def called(model: nn.Module, tokens: torch.Tensor, allowed: str = ALLOWED) -> Any:  # noqa: ANN401  transformers' output
    """Return what a model gives for tokens ``[n]``.

    Raises:
        RequestError: it takes none; ``allowed`` says what is needed.
    """
    kind = type(model).__name__
    try:
        return run_model(model, {"input_ids": tokens[None]})
    except TypeError as error:
        raise RequestError(f"model {kind} takes no tokens ({error}): {allowed} is needed") from None
    except (ValueError, IndexError) as error:
        raise RequestError(f"model {kind}: {error}: {allowed} is needed") from None
