"""Which models predict each token from those before it alone; others have their own measures.

What transformers says of its classes counts, not what logits do when a later token changes: where
activations are rounded with one scale for a whole text, or experts are shared by its tokens, all
logits change a little. Models that say nothing are tried out, without the hooks that round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from quant.common.errors import RequestError

SAME = 1e-4
"""Change of logits, over the largest one, that computing in another order stays below."""


def generates(model: nn.Module) -> bool:
    """Whether a model of transformers gives a text word by word, without an encoder."""
    able, config = getattr(model, "can_generate", None), getattr(model, "config", None)
    # Encoders that can be decoders too (BERT) say which they are.
    is_decoder = getattr(config, "is_decoder", True) is not False
    return callable(able) and bool(able()) and is_decoder and not has_encoder(model)


def has_encoder(model: nn.Module) -> bool:
    """Whether a model of transformers is an encoder with a decoder."""
    return getattr(getattr(model, "config", None), "is_encoder_decoder", False) is True


def check_causal(
    model: nn.Module, probe: torch.Tensor, logits: Callable[[nn.Module, torch.Tensor], torch.Tensor]
) -> None:
    """Refuse models that perplexity does not measure.

    Args:
        model: The model.
        probe: A few tokens ``[n]``.
        logits: Gives a model's logits ``[n, words]`` of tokens.

    Raises:
        RequestError: with the measure that is right for it.
    """
    kind = type(model).__name__
    if has_encoder(model):
        raise RequestError(
            f"model {kind} is an encoder with a decoder, no causal language model: "
            "quant.conditional_loss measures it"
        )
    if not generates(model) and _looks_ahead(model, probe, logits):
        raise RequestError(
            f"model {kind} looks at later tokens, it is no causal language model: "
            "quant.masked_loss measures it"
        )


def _looks_ahead(
    model: nn.Module, probe: torch.Tensor, logits: Callable[[nn.Module, torch.Tensor], torch.Tensor]
) -> bool:
    """Whether the last token changes the logits of those before it."""
    with _without_hooks(model):
        before = logits(model, probe).float()
        other = probe.clone()
        other[-1] = probe[0] if probe[0] != probe[-1] else (probe[-1] + 1) % before.shape[-1]
        change = (logits(model, other).float() - before)[:-1].abs().max()
    return bool(change > SAME * before.abs().max())


@contextmanager
def _without_hooks(model: nn.Module) -> Iterator[None]:
    """Run a model without its parts' hooks for the length of a block."""
    kept = [
        (hooks, dict(hooks))
        for module in model.modules()
        for hooks in (module._forward_pre_hooks, module._forward_hooks)
        if hooks
    ]
    for hooks, _ in kept:
        hooks.clear()
    try:
        yield
    finally:
        for hooks, own in kept:
            hooks.update(own)
