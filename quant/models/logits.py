"""Losses through a model's own forward, the logits of a few positions in memory at a time.

The head is what takes the memory: 1,024 positions of 256,000 words are 1 GB. So the model runs once
up to its head, and the rest of its own forward (head, scale, soft-cap) runs on slices of the hidden
states: its backbone gives, for the moment, a slice of what it gave before. That this is the same is
tried out on a few tokens; where it is not, the model runs whole. No name of a module is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeAlias

import torch
from torch import nn

from quant.common.errors import RequestError

HEAD_ROWS = 256
"""Positions whose logits are held in memory at once."""
PROBE = 8
"""Tokens that slicing, and that nothing looks ahead, are tried out on."""
ALLOWED = "a causal language model of transformers"
Loss: TypeAlias = Callable[[torch.Tensor], float]
"""Mean loss of a window ``[n]`` of tokens, in nat."""


class _Reached(Exception):  # noqa: N818  not an error: the head is reached
    pass


def next_token_loss(model: nn.Module, window: torch.Tensor) -> Loss:
    """Return what measures the loss of predicting each next token of a window.

    Args:
        model: The model, in evaluation mode.
        window: Some tokens ``[n]`` to try out on.

    Raises:
        RequestError: no logits of words, or logits that later tokens change: no causal model.
    """
    probe = window[: min(PROBE, len(window))]
    whole = whole_logits(model, probe)
    if len(probe) > 2:
        other = probe.clone()
        other[-1] = probe[0] if probe[0] != probe[-1] else (probe[-1] + 1) % max(2, whole.shape[-1])
        if not _close(whole_logits(model, other)[:-1], whole[:-1]):
            kind = type(model).__name__
            raise RequestError(
                f"model {kind} looks at later tokens: {ALLOWED} is needed; quant.masked_loss "
                "measures encoders"
            )
    if _slices_agree(model, probe, whole):
        return lambda tokens: _mean_loss(_sliced(model, tokens, HEAD_ROWS), tokens)
    return lambda tokens: _mean_loss(iter([(0, whole_logits(model, tokens))]), tokens)


def whole_logits(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Return the logits of all positions, ``[n, words]``, by one call of the model.

    Raises:
        RequestError: the model gives none.
    """
    output = _call(model, tokens)
    logits = getattr(output, "logits", None)
    if not isinstance(logits, torch.Tensor) or logits.shape[:2] != (1, len(tokens)):
        kind = type(model).__name__
        raise RequestError(f"model {kind} gives no logits of words: {ALLOWED} is needed")
    return logits[0]


def _call(model: nn.Module, tokens: torch.Tensor) -> Any:  # noqa: ANN401  transformers' output
    from quant.layers.blocks import run_model

    try:
        return run_model(model, {"input_ids": tokens[None]})
    except TypeError as error:
        kind = type(model).__name__
        raise RequestError(f"model {kind} takes no tokens ({error}): {ALLOWED} is needed") from None
    except ValueError as error:
        kind = type(model).__name__
        raise RequestError(f"model {kind}: {error}: {ALLOWED} is needed") from None


def _slices_agree(model: nn.Module, probe: torch.Tensor, whole: torch.Tensor) -> bool:
    """Whether slices give what the whole forward gives."""
    if _parts(model) is None or len(probe) < 2:
        return False
    try:
        found = [logits for _, logits in _sliced(model, probe, max(1, len(probe) // 2))]
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError, KeyError):
        return False
    rows = sum(len(logits) for logits in found)
    return rows == len(probe) - 1 and _close(torch.cat(found), whole[:-1])


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    scale = float(other.float().abs().max())
    step = torch.finfo(other.dtype).eps if other.is_floating_point() else 0.0
    return torch.allclose(one.float(), other.float(), rtol=0, atol=32 * step * max(scale, 1e-30))


def _parts(model: nn.Module) -> tuple[nn.Module, nn.Module] | None:
    """Backbone and head, where a model has both and the one does not hold the other."""
    getter = getattr(model, "get_output_embeddings", None)
    try:
        head = getter() if callable(getter) else None
    except (AttributeError, NotImplementedError, TypeError):
        return None
    base = getattr(model, "base_model", None)
    if not isinstance(head, nn.Module) or not isinstance(base, nn.Module) or base is model:
        return None
    return None if any(module is head for module in base.modules()) else (base, head)


def _sliced(
    model: nn.Module, tokens: torch.Tensor, rows: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield first positions and logits ``[rows, words]`` of slices, the last token's left out."""
    parts = _parts(model)
    assert parts is not None
    output = _up_to_head(model, *parts, tokens)
    for start in range(0, len(tokens) - 1, rows):
        stop = min(start + rows, len(tokens) - 1)
        with _giving(parts[0], _slice(output, start, stop)):
            logits = whole_logits(model, tokens[start:stop])
        yield start, logits


def _up_to_head(model: nn.Module, base: nn.Module, head: nn.Module, tokens: torch.Tensor) -> Any:  # noqa: ANN401  the backbone's output
    """What the backbone gives; the model stops at its head."""
    given: list[Any] = []

    def keep(_module: nn.Module, _args: object, output: object) -> None:
        given.append(output)

    def stop(_module: nn.Module, _args: object) -> None:
        raise _Reached

    hooks = [base.register_forward_hook(keep), head.register_forward_pre_hook(stop)]
    try:
        _call(model, tokens)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    if len(given) != 1:
        raise RuntimeError("the backbone is not called once")
    return given[0]


def _slice(output: Any, start: int, stop: int) -> Any:  # noqa: ANN401  the backbone's output
    """The same output with some positions of its hidden states."""
    if isinstance(output, tuple):
        return (output[0][:, start:stop], *output[1:])
    made = copy(output)
    made["last_hidden_state"] = output["last_hidden_state"][:, start:stop]
    return made


@contextmanager
def _giving(module: nn.Module, output: object) -> Iterator[None]:
    """Let a module give something for the length of a block, whatever it is called with."""
    module.forward = lambda *_args, **_settings: output
    try:
        yield
    finally:
        del module.forward


def _mean_loss(parts: Iterator[tuple[int, torch.Tensor]], tokens: torch.Tensor) -> float:
    """Mean loss of all next tokens, float32."""
    total, count = 0.0, len(tokens) - 1
    for start, part in parts:
        logits = part[: count - start].float()
        target = tokens[start + 1 : start + 1 + len(logits)]
        total += float(nn.functional.cross_entropy(logits, target, reduction="sum"))
    return total / count
