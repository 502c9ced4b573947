"""Rounding keys and values on the fly, as a quantized KV cache would hold them.

Where they are made is measured (``quant.models.kv_sources``), not listed by family. Rounded is:

- *before rotary* (the default): what the projections give, their key and value channels alone where
  they give queries too; of a compressed cache (MLA) the projection to the latent and rotary part;
- *after rotary*: what the model hands to its cache: keys and values, with MLA the normed latent
  and the rotated part.

A group lies within one head of one token, or, for keys by channel, within one channel of one head:
``group_size`` tokens in a row. Nothing is shared by two heads: formats with a scale or a choice for
the whole tensor have one a head. Recurrent and convolutional states are not rounded.

With ``recent`` or keys by channel each query meets a mix of its own: attention is computed once
over exact and rounded keys side by side, and its mask takes one of the two for each query and key.
As in KIVI (arXiv 2402.02750), a group of tokens is rounded once its last token has come and has
left the recent window, so that no query sees scales from its future; groups that the text leaves
open stay exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from quant.common.errors import HwsimError, RequestError
from quant.formats.layout import ROW
from quant.formats.spec import FormatSpec
from quant.models.attention import Attend, attention_calls, cache_of, uncached_calls
from quant.models.kv_groups import by_token
from quant.models.kv_options import PLAIN, CacheRounding
from quant.models.kv_sources import Part, Sources, few_tokens_output, sources_of

SAME = 0.05
"""Relative difference of outputs that computing in 16 bits in another order stays below."""


@contextmanager
def rounded_cache(
    model: nn.Module, spec: FormatSpec, options: CacheRounding = PLAIN
) -> Iterator[None]:
    """Round the keys and values of a model for the length of a block.

    Args:
        model: A model of transformers; or a torch module with layers that are called ``k_proj``
            and ``v_proj``, or ``key`` and ``value``, for which of the options only sinks will do.
        spec: The format.
        options: What is rounded, and when.

    Raises:
        RequestError: a model whose keys and values are not found, or options that it cannot have.
    """
    sources = sources_of(model)
    _check(model, spec, options, sources)
    if options.is_mixed:
        _try_mix(model, spec, options, sources)
    with _installed(model, sources, _Rounding(spec, options)):
        yield


@contextmanager
def _installed(model: nn.Module, sources: Sources, work: _Rounding) -> Iterator[None]:
    """Let a model round by ``work`` for the length of a block."""
    options = work.options
    with ExitStack() as stack:
        if options.needs_whole_text:
            name, update = sources.cache_argument, work.updated if options.is_late else _unchanged
            own = {name: cache_of(model, update)} if name else {}
            stack.enter_context(uncached_calls(model, own))
        if not options.is_late:
            for layer, parts in sources.projections.items():
                hook = layer.register_forward_hook(partial(work.projected, parts))
                stack.callback(hook.remove)
        if options.is_mixed:
            for module in sources.attentions.values():
                hook = module.register_forward_pre_hook(work.exact_first, with_kwargs=True)
                stack.callback(hook.remove)
            stack.enter_context(attention_calls(work.attended))
        yield


def _check(model: nn.Module, spec: FormatSpec, options: CacheRounding, sources: Sources) -> None:
    """Refuse by name what cannot be done, before anything is computed."""
    name = type(model).__name__
    if options.grouping.is_delayed and spec.group_size >= ROW:
        raise RequestError(
            f"kv {spec}: keys by channel need a group of so many tokens, such as g32"
        )
    if options.is_late and not sources.cache_argument:
        raise RequestError(
            f"rotary {options.rotary!r}: {name} hands no keys to a cache; use {PLAIN.rotary!r}"
        )
    if options.is_mixed and (reason := sources.why_unmixed):
        raise RequestError(f"recent tokens or keys by channel: {name} {reason}")
    if options.grouping.is_delayed and sources.why_by_token:
        raise RequestError(f"keys {options.keys!r}: {name} {sources.why_by_token}")


def _try_mix(model: nn.Module, spec: FormatSpec, options: CacheRounding, sources: Sources) -> None:
    """Refuse a model whose attention does not take keys twice.

    That it is the same over a few tokens with all keys twice, none of them rounded, shows it.
    """
    work = _Nothing(spec, replace(options, recent=1))
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            wanted = few_tokens_output(model)
            with _installed(model, sources, work):
                found = few_tokens_output(model)
        error = float((found - wanted).norm() / wanted.norm())
    except (RuntimeError, TypeError, ValueError, LookupError) as reason:
        raise _unmixed(model, " ".join(str(reason).split())) from reason
    if not error < SAME:
        raise _unmixed(model, f"its output changes by {error:.1%}")


def _unmixed(model: nn.Module, why: str) -> RequestError:
    return RequestError(
        f"recent tokens or keys by channel: the attention of {type(model).__name__} cannot take "
        f"exact and rounded keys side by side: {why}"
    )


class _Seen(Exception):  # noqa: N818  no error: it ends a call that has shown what it had to
    """Attention was reached."""


class _Rounding:
    """What the hooks of one block share.

    Attributes:
        spec: The format.
        options: What is rounded.
        is_exact: Whether a call is under way that only shows exact keys and values.
        exact: Of the attention module that runs, its exact keys and values.
    """

    def __init__(self, spec: FormatSpec, options: CacheRounding) -> None:
        self.spec, self.options = spec, options
        self.is_exact = False
        self.exact: dict[nn.Module, tuple[torch.Tensor, torch.Tensor]] = {}

    def rounded(self, states: torch.Tensor, are_keys: bool) -> torch.Tensor:
        """Round ``states [batch, tokens, heads, channels]`` after the sinks."""
        grouping = self.options.grouping if are_keys else by_token
        sinks = self.options.sinks
        body = grouping.rounded(states[:, sinks:].detach(), self.spec)
        return torch.cat([states[:, :sinks], body], 1) if sinks else body

    def projected(
        self, parts: tuple[Part, ...], _layer: nn.Module, _args: object, output: torch.Tensor
    ) -> torch.Tensor | None:
        """Round the channels of a projection's ``output [..., tokens, out]`` that are cached."""
        if self.is_exact:
            return None
        result = output.reshape(-1, *output.shape[-2:]).clone()
        for part in parts:
            channels = part.channels.to(output.device)
            own = result[..., channels]
            heads = own.reshape(*own.shape[:-1], -1, part.head_dim)
            result[..., channels] = self.rounded(heads, part.are_keys).flatten(-2)
        return result.reshape(output.shape)

    def updated(
        self, key: torch.Tensor, value: torch.Tensor, *_rest: object, **_named: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Round ``[batch, heads, tokens, channels]`` on their way to the cache."""
        if self.is_exact:
            return key, value
        keys = self.rounded(key.transpose(1, 2), True).transpose(1, 2)
        return keys, self.rounded(value.transpose(1, 2), False).transpose(1, 2)

    def exact_first(self, module: nn.Module, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        """Run an attention module until it has exact keys and values."""
        self.is_exact = True
        try:
            module.forward(*args, **named)
        except _Seen:
            return
        finally:
            self.is_exact = False
        raise HwsimError(f"{type(module).__name__} did not come to its attention function")

    def attended(
        self, function: Attend, module: nn.Module, tensors: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:  # noqa: ANN401  whatever the function gives
        """Attend to exact and rounded keys and values, each query to its own mix."""
        query, key, value, mask = tensors
        if self.is_exact:
            self.exact[module] = key, value
            raise _Seen
        exact = self.exact.pop(module, None)
        if exact is None:  # another model
            return function(module, query, key, value, mask, **named)
        keys, values, choices = self._sides(query, (key, value), exact)
        bias = named.get("position_bias")
        if bias is not None:
            named = {**named, "position_bias": torch.cat([bias] * len(choices), -1)}
        if mask is None:
            own = named.get("is_causal")
            is_causal = getattr(module, "is_causal", True) if own is None else own
            mask = _all_pairs(choices[0], is_causal)
        mask = _chosen(mask, choices)
        return function(module, query, torch.cat(keys, 2), torch.cat(values, 2), mask, **named)

    def _sides(
        self,
        query: torch.Tensor,
        rounded: tuple[torch.Tensor, ...],
        exact: tuple[torch.Tensor, ...],
    ) -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor]]:
        """Keys, values and who sees them ``[queries, tokens]``: exact, half and half, rounded."""
        tokens, sinks = rounded[0].shape[2], self.options.sinks
        place = torch.arange(tokens, device=query.device)
        last = self.options.grouping.last(place - sinks, self.spec.group_size) + sinks
        until = place[-query.shape[2] :, None] - self.options.recent
        values, keys = place <= until, last <= until
        sides = [(exact[0], exact[1], ~values), (rounded[0], rounded[1], keys)]
        if not torch.equal(keys, values):
            sides.insert(1, (exact[0], rounded[1], values & ~keys))
        return [s[0] for s in sides], [s[1] for s in sides], [s[2] for s in sides]


class _Nothing(_Rounding):
    """Goes all the ways of rounding, but rounds nothing."""

    def rounded(self, states: torch.Tensor, are_keys: bool) -> torch.Tensor:
        """Leave states as they are."""
        return states


def _all_pairs(like: torch.Tensor, is_causal: bool) -> torch.Tensor:
    """The mask ``[1, 1, queries, tokens]`` that is meant where a model gives none."""
    mask = torch.ones_like(like)
    return (mask.tril(like.shape[1] - like.shape[0]) if is_causal else mask)[None, None]


def _chosen(mask: torch.Tensor, choices: list[torch.Tensor]) -> torch.Tensor:
    """A mask over all sides, ``[batch, heads or 1, queries, sides * tokens]``."""
    if mask.dtype == torch.bool:
        return torch.cat([mask & choice for choice in choices], -1)
    least = torch.finfo(mask.dtype).min
    return torch.cat([mask.masked_fill(~choice, least) for choice in choices], -1)


def _unchanged(
    key: torch.Tensor, value: torch.Tensor, *_rest: object, **_named: object
) -> tuple[torch.Tensor, torch.Tensor]:
    return key, value


__all__ = ["PLAIN", "CacheRounding", "rounded_cache"]
