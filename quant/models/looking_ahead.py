"""Which models predict each token from those before it alone; others have their own measures.

What transformers says of its classes is not enough: some that give texts word by word attend both
ways. So the last of a few tokens is replaced, without the hooks that round. That alone is not
enough either: where experts are shared by tokens, or tokens sorted by what they are, other logits
change too. So the last token is then moved a little, towards the other one: logits that depend on
it move in proportion, all others stay, or jump.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import nn

from quant.common.errors import RequestError
from quant.models.words import whole_logits

SAME = 1e-4
"""Change of logits, over the largest one, that computing in another order stays below."""
STEPS = 4
"""The same in steps of the data type, for models that say that they give texts word by word."""
PROBE = 8
"""Tokens that a model is tried out on where no text is given."""
MOVE = 1 / 64
"""How far the last token is moved towards another one: little enough to be sorted as before."""
FOLLOWS = 0.1
"""Share of a change in proportion to that move which logits that depend on the token exceed."""
Logits: TypeAlias = Callable[[nn.Module, torch.Tensor], torch.Tensor]
"""Gives a model's logits ``[n, words]`` of tokens ``[n]``."""


def generates(model: nn.Module) -> bool:
    """Whether a model of transformers gives a text word by word, without an encoder.

    One that says so, but whose words depend on later ones, does not; where it cannot be called
    with a few tokens, what it says counts.
    """
    if not _says_so(model):
        return False
    try:
        with torch.no_grad():
            probe = _some_tokens(model)
            return probe is None or not _looks_ahead(model, probe, whole_logits)
    except (RequestError, RuntimeError, TypeError, ValueError, LookupError):
        return True


def has_encoder(model: nn.Module) -> bool:
    """Whether a model of transformers is an encoder with a decoder."""
    return getattr(getattr(model, "config", None), "is_encoder_decoder", False) is True


def check_causal(model: nn.Module, probe: torch.Tensor, logits: Logits) -> None:
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
    if _looks_ahead(model, probe, logits):
        raise RequestError(
            f"model {kind} looks at later tokens, it is no causal language model: "
            "quant.masked_loss measures it"
        )


def _says_so(model: nn.Module) -> bool:
    """Whether a model's class and config say that it gives a text word by word."""
    able, config = getattr(model, "can_generate", None), getattr(model, "config", None)
    # Encoders that can be decoders too (BERT) say which they are.
    is_decoder = getattr(config, "is_decoder", True) is not False
    return callable(able) and bool(able()) and is_decoder and not has_encoder(model)


def _some_tokens(model: nn.Module) -> torch.Tensor | None:
    """A few tokens from all over a model's vocabulary; None: it has none, or no values."""
    table = _table(model)
    if table is None or table.weight.device.type == "meta":
        return None
    places = torch.arange(1, PROBE + 1, device=table.weight.device)
    return places * table.num_embeddings // (PROBE + 2)


def _table(model: nn.Module) -> nn.Embedding | None:
    """The table of a model's words."""
    getter = getattr(model, "get_input_embeddings", None)
    try:
        found = getter() if callable(getter) else None
    except (AttributeError, NotImplementedError, TypeError):
        return None
    return found if isinstance(found, nn.Embedding) else None


def _looks_ahead(model: nn.Module, probe: torch.Tensor, logits: Logits) -> bool:
    """Whether the logits of tokens depend on the last one."""
    with _without_hooks(model), _embedded(model) as table:
        before = logits(model, probe)
        step = max(torch.finfo(kind).eps for kind in (before.dtype, _type(model, before.dtype)))
        allowed = max(SAME, STEPS * step) if _says_so(model) else SAME
        other = probe.clone()
        other[-1] = probe[0] if probe[0] != probe[-1] else (probe[-1] + 1) % before.shape[-1]
        change = _change(before, logits(model, other))
        if change <= allowed * float(before.abs().max()):
            return False
        if not table.is_moved(len(probe)):
            return True
        moved = _change(before, logits(model, probe))
        # What is drawn by chance, as hashes are, changes as much where nothing is moved.
        table.moves = False
        drawn = _change(before, logits(model, probe))
    return moved > max(FOLLOWS * MOVE * change, drawn)


def _type(model: nn.Module, usual: torch.dtype) -> torch.dtype:
    """The data type that a model computes in."""
    own = getattr(model, "dtype", usual)
    return own if isinstance(own, torch.dtype) and own.is_floating_point else usual


def _change(before: torch.Tensor, after: torch.Tensor) -> float:
    """The largest change of the logits of all tokens but the last one."""
    return float((after.float() - before.float())[:-1].abs().max())


class _Table:
    """Sees what a model's table of words gives; then gives words of which the last is moved.

    Attributes:
        seen: What it gave, each time that it was called.
        moves: Whether it gives a moved word.
    """

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []
        self.moves = False

    def is_moved(self, count: int) -> bool:
        """Begin to move, where it gave ``count`` words twice: of the text and of the other one."""
        shapes = [words.shape[:-1] for words in self.seen]
        # Some models have the tokens first, and the text second.
        self.moves = shapes in ([(1, count)] * 2, [(count, 1)] * 2)
        return self.moves

    def called(self, _module: nn.Module, _args: object, words: torch.Tensor) -> torch.Tensor | None:
        """Give the words of a call."""
        if not self.moves:
            self.seen.append(words)
            return None
        return torch.lerp(self.seen[0], self.seen[1], MOVE)


@contextmanager
def _embedded(model: nn.Module) -> Iterator[_Table]:
    """See what a model's table of words gives for the length of a block."""
    work, table = _Table(), _table(model)
    hook = table.register_forward_hook(work.called) if table is not None else None
    try:
        yield work
    finally:
        if hook is not None:
            hook.remove()


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
