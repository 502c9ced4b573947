"""Stepping between a model of transformers and its attention functions, and its cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any, TypeAlias

import torch
from torch import nn

from quant.common.errors import RequestError

Attend: TypeAlias = Callable[..., Any]
"""``(module, query, key, value, mask, **named)``: an attention function of transformers."""
Step: TypeAlias = Callable[[Attend, nn.Module, tuple[Any, ...], dict[str, Any]], Any]
"""Is called in a function's place: ``(function, module, (query, key, value, mask), named)``."""
Update: TypeAlias = Callable[..., tuple[torch.Tensor, torch.Tensor]]
"""``(key, value, layer, ...)``, as ``Cache.update``."""
CACHE_ARGUMENTS = ("cache", "past_key_values")
"""What models call their cache, from transformers 5.24 on and before."""


def is_of_transformers(model: nn.Module) -> bool:
    """Whether a model's class comes from transformers, or is derived from one of its models."""
    return any(kind.__name__ == "PreTrainedModel" for kind in type(model).__mro__)


@contextmanager
def attention_calls(step: Step) -> Iterator[None]:
    """Let ``step`` take every call of an attention function, for the length of a block.

    Models look their function up by name each time that they run, some with a default of their
    own (soft-caps, sinks), so it is the look-up that is wrapped: the function stays the model's.
    """
    from transformers.modeling_utils import AttentionInterface

    before = AttentionInterface.get_interface

    @wraps(before)
    def get_interface(self: Any, name: str, default: Attend) -> Attend:  # noqa: ANN401  its class
        return partial(_stepped, step, before(self, name, default))

    AttentionInterface.get_interface = get_interface
    try:
        yield
    finally:
        AttentionInterface.get_interface = before


def _stepped(
    step: Step,
    function: Attend,
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None = None,
    **named: Any,  # noqa: ANN401  the function's own
) -> Any:  # noqa: ANN401  as above
    return step(function, module, (query, key, value, attention_mask), named)


def cache_argument(model: nn.Module) -> str:
    """Return what a model calls the cache of keys and values that it takes; empty: none."""
    names = inspect.signature(model.forward).parameters
    return next((name for name in CACHE_ARGUMENTS if name in names), "")


def cache_of(model: nn.Module, update: Update) -> Any:  # noqa: ANN401  transformers has no types
    """Return a cache that keeps no keys and values, but gives what ``update`` makes of them."""
    from transformers import DynamicCache

    cache = DynamicCache(config=model.config)
    cache.update = update
    return cache


@contextmanager
def uncached_calls(model: nn.Module, cache: dict[str, object]) -> Iterator[None]:
    """Give a model a cache in every call, and refuse the caller's, for the length of a block.

    Args:
        model: The model.
        cache: The argument that it takes a cache by -> the cache; empty: it is given none.
    """

    def given(
        _model: nn.Module, args: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for own in (*args, *(named.get(own) for own in CACHE_ARGUMENTS)):
            is_own = any(own is value for value in cache.values())
            if hasattr(own, "get_seq_length") and not is_own:
                raise RequestError(
                    "kv with sinks, recent tokens, keys by channel or after rotary needs the whole "
                    "text in one call: give no cache (generate with use_cache=False)"
                )
        rest = {key: value for key, value in named.items() if key not in CACHE_ARGUMENTS}
        return args, {**(rest if cache else named), **cache}

    with ExitStack() as stack:
        for module in {model, getattr(model, "base_model", model)}:
            hook = module.register_forward_pre_hook(given, with_kwargs=True)
            stack.callback(hook.remove)
        yield
