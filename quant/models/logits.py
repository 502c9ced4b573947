"""Losses through a model's own forward, the logits of a few positions in memory at a time.

The head is what takes the memory: 1,024 positions of 256,000 words are 1 GB. So the model runs once
up to its head, and the rest of its own forward (head, scale, soft-cap) runs on slices of the hidden
states: its backbone gives, for the moment, a slice of what it gave before. That this is the same is
tried out on a few tokens; where it is not, the model runs whole. No name of a module is assumed:
the backbone is the largest part that has run when the head is reached.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any, TypeAlias

import torch
from torch import nn

from quant.common.errors import RequestError
from quant.models.looking_ahead import check_causal
from quant.models.words import called, whole_logits

HEAD_ROWS = 256
"""Positions whose logits are held in memory at once."""
PROBE = 8
"""Tokens that slicing, and that nothing looks ahead, are tried out on."""
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
        RequestError: no logits of words, or a model that looks at later tokens: no causal one.
    """
    probe = window[: min(PROBE, len(window))]
    check_causal(model, probe, whole_logits)
    parts = _parts(model, probe)
    if parts is not None and _slices_agree(model, parts, probe):
        return lambda tokens: _mean_loss(_sliced(model, parts, tokens, HEAD_ROWS), tokens)
    return lambda tokens: _mean_loss(iter([(0, whole_logits(model, tokens))]), tokens)


def _slices_agree(
    model: nn.Module, parts: tuple[nn.Module, nn.Module], probe: torch.Tensor
) -> bool:
    """Whether slices give what the whole forward gives."""
    whole = whole_logits(model, probe)[:-1]
    try:
        slices = list(_sliced(model, parts, probe, max(1, len(probe) // 2)))
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError, RequestError):
        return False
    found = torch.cat([logits for _, logits in slices])
    return found.shape == whole.shape and _close(found, whole, parts[1])


def _close(one: torch.Tensor, other: torch.Tensor, head: nn.Module) -> bool:
    """Whether logits differ by no more than products of other shapes round."""
    weight = getattr(head, "weight", None)
    kinds = [t.dtype for t in (one, weight) if isinstance(t, torch.Tensor)]
    step = max(torch.finfo(kind).eps for kind in kinds if kind.is_floating_point)
    scale = float(other.float().abs().max())
    return torch.allclose(
        one.float(), other.float(), rtol=0, atol=max(4 * step, 4e-6) * max(scale, 1e-30)
    )


def _parts(model: nn.Module, probe: torch.Tensor) -> tuple[nn.Module, nn.Module] | None:
    """Backbone and head, where a model has both: the head is what transformers calls it.

    The backbone is the part with the most parameters (the last of equal ones) of those that the
    model calls by itself until the head's turn comes, once.
    """
    getter = getattr(model, "get_output_embeddings", None)
    try:
        head = getter() if callable(getter) else None
    except (AttributeError, NotImplementedError, TypeError):
        return None
    if not isinstance(head, nn.Module):
        return None
    calls = _calls_until(model, head, probe)
    sizes = {part: sum(p.numel() for p in part.parameters()) for part in calls}
    base = max(reversed(sizes), key=lambda part: sizes[part], default=None)
    return None if base is None or calls[base] != 1 else (base, head)


def _calls_until(model: nn.Module, head: nn.Module, probe: torch.Tensor) -> Counter[nn.Module]:
    """Parts that run before the head, those inside of others left out, and how often."""
    calls: Counter[nn.Module] = Counter()
    running: list[nn.Module] = []

    def enter(part: nn.Module, _args: object) -> None:
        if not running:
            calls[part] += 1
        running.append(part)

    def leave(_part: nn.Module, _args: object, _output: object) -> None:
        running.pop()

    hooks = [head.register_forward_pre_hook(_stop)]
    for part in model.modules():
        if all(inner is not head for inner in part.modules()):
            hooks.append(part.register_forward_pre_hook(enter))
            hooks.append(part.register_forward_hook(leave, always_call=True))
    _run_until(model, hooks, probe)
    return calls


def _stop(_head: nn.Module, _args: object) -> None:
    raise _Reached


def _run_until(model: nn.Module, hooks: list[Any], tokens: torch.Tensor) -> None:
    """Run a model until one of some hooks, which are removed, stops it."""
    try:
        called(model, tokens)
    except _Reached:
        pass
    finally:
        for hook in hooks:
            hook.remove()


def _sliced(
    model: nn.Module, parts: tuple[nn.Module, nn.Module], tokens: torch.Tensor, rows: int
) -> Iterator[tuple[int, torch.Tensor]]:
    """Yield first positions and logits ``[rows, words]`` of slices, the last token's left out."""
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

    hooks = [base.register_forward_hook(keep), head.register_forward_pre_hook(_stop)]
    _run_until(model, hooks, tokens)
    if len(given) != 1:
        raise RuntimeError("the backbone is not called once")
    return given[0]


def _slice(output: Any, start: int, stop: int) -> Any:  # noqa: ANN401  the backbone's output
    """The same output with some positions of its hidden states, which come first."""
    if isinstance(output, torch.Tensor):
        return output[:, start:stop]
    if isinstance(output, tuple):
        return (output[0][:, start:stop], *output[1:])
    made, name = copy(output), next(iter(output))
    made[name] = output[name][:, start:stop]
    return made


@contextmanager
def _giving(module: nn.Module, output: object) -> Iterator[None]:
    """Let a module give something for the length of a block, whatever it is called with."""
    own = vars(module).get("forward")  # set where a library wraps it
    module.forward = lambda *_args, **_settings: output
    try:
        yield
    finally:
        del module.forward
        if own is not None:
            module.forward = own


def _mean_loss(parts: Iterator[tuple[int, torch.Tensor]], tokens: torch.Tensor) -> float:
    """Mean loss of all next tokens, float32."""
    total, count = 0.0, len(tokens) - 1
    for start, part in parts:
        logits = part[: count - start].float()
        target = tokens[start + 1 : start + 1 + len(logits)]
        total += float(nn.functional.cross_entropy(logits, target, reduction="sum"))
    return total / count
