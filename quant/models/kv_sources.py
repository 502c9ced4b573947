"""Where a model's keys and values come from, measured by a run over a few tokens.

The run shows what the model hands to its cache, or to its attention function where it has no
cache. Gradients tell which channels of which projection that was made from: so projections that
are fused in whatever order, few key heads and compressed caches need no list of families.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from quant.common.errors import RequestError
from quant.layers.matrices import linear_layers, weight_of
from quant.models.attention import (
    Attend,
    attention_calls,
    cache_argument,
    cache_of,
    is_of_transformers,
)

TOKENS = 4
"""Of the run; the least sizes of positions and windows are larger."""
PLAIN_KEYS, PLAIN_VALUES = ("k_proj", "key"), ("v_proj", "value")
"""What the projections of a model that is not transformers' have to be called."""
DENSE = ("eager", "sdpa")
"""Attention that takes a mask of all pairs."""


class Part(NamedTuple):
    """Channels of a projection's output that are keys, or values.

    Attributes:
        channels: ``[heads * head_dim]`` places, head after head.
        head_dim: Channels of a head.
        are_keys: Keys, or values.
    """

    channels: torch.Tensor
    head_dim: int
    are_keys: bool


@dataclass(frozen=True)
class Sources:
    """Where keys and values come from.

    Attributes:
        projections: Layer -> the parts of its output that are cached.
        attentions: Path -> module that computes attention by one of transformers' functions.
        cache_argument: What the model calls the cache that it hands keys to; empty: it does not.
        why_unmixed: Why exact and rounded keys cannot be mixed for each query; empty: they can.
        why_by_token: Why keys cannot be rounded in other groups than values; empty: they can.
    """

    projections: Mapping[nn.Module, tuple[Part, ...]]
    attentions: Mapping[str, nn.Module] = field(default_factory=dict)
    cache_argument: str = ""
    why_unmixed: str = ""
    why_by_token: str = ""


def sources_of(model: nn.Module) -> Sources:
    """Return where the keys and values of a model come from.

    Raises:
        RequestError: it has none, or they are not found; the message names the model.
    """
    if not is_of_transformers(model):
        return _by_names(model)
    run = _Run(model)
    run.go()
    name = type(model).__name__
    if not run.cached and not run.attended:
        raise RequestError(
            f"kv: {name} has no attention with keys and values that could be rounded"
        )
    seen = run.cached or [(keys, values) for _, keys, values in run.attended]
    parts: dict[nn.Module, list[Part]] = {}
    for number, (keys, values) in enumerate(seen):
        for states, are_keys in ((keys, True), (values, False)):
            for layer, part in run.parts(states, are_keys, f"kv: {name}, attention {number}"):
                # One layer may serve several attentions, or keys and values at once.
                if not any(_equal(part, own) for own in parts.setdefault(layer, [])):
                    parts[layer].append(part)
    return Sources(
        {layer: _disjoint(own, name) for layer, own in parts.items()},
        {path: module for path, module in model.named_modules() if module in run.modules},
        run.argument if run.cached else "",
        run.why_unmixed(),
        run.why_by_token(),
    )


def few_tokens_output(model: nn.Module, **cache: object) -> torch.Tensor:
    """Return what a model gives for a few tokens.

    Args:
        model: One of transformers.
        cache: The argument that it takes a cache by, if any -> the cache.

    Raises:
        RequestError: it takes no tokens.
    """
    config: Any = model.config
    if model.main_input_name != "input_ids":
        raise RequestError(f"kv: {type(model).__name__} takes {model.main_input_name}, not tokens")
    tokens = torch.arange(TOKENS, device=next(model.parameters()).device)[None]
    given: dict[str, object] = {"input_ids": tokens, **cache}
    if getattr(config, "is_encoder_decoder", False):
        given["decoder_input_ids"] = tokens
    if cache_argument(model):
        given["use_cache"] = False
    output: torch.Tensor = model(**given)[0]
    return output


class _States(NamedTuple):
    """Keys or values, ``[batch, heads, tokens, channels]``, and what they were made from."""

    shape: torch.Size
    channels: dict[nn.Module, torch.Tensor]


class _Run:
    """One run of a model over a few tokens."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.argument = cache_argument(model)
        self.leaves: list[tuple[nn.Module, torch.Tensor]] = []
        self.cached: list[tuple[_States, _States]] = []
        self.attended: list[tuple[nn.Module, _States, _States]] = []

    @property
    def modules(self) -> set[nn.Module]:
        """The modules that called an attention function."""
        return {module for module, _, _ in self.attended}

    def why_unmixed(self) -> str:
        """Why its attention cannot be given exact and rounded keys; empty: it can."""
        config: Any = self.model.config
        if not self.cached or getattr(config, "is_encoder_decoder", False):
            return "is no decoder alone, which they are for"
        if len(self.attended) < len(self.cached):
            return "computes attention by itself, not by a function of transformers"
        configs: list[Any] = [module.config for module in self.modules]
        found = {str(config._attn_implementation or DENSE[0]) for config in configs}
        if other := sorted(found - set(DENSE)):
            return f"computes attention by {other[0]}; {' or '.join(DENSE)} is needed"
        for module, keys, values in self.attended:
            if not {*keys.channels, *values.channels} <= set(module.modules()):
                return "shares keys among layers"
        return ""

    def why_by_token(self) -> str:
        """Why keys cannot have groups of their own; empty: they can."""
        for (keys, _), (_, seen, _) in zip(self.cached, self.attended, strict=False):
            if keys.channels.keys() != seen.channels.keys():
                return "caches a latent in place of keys"
        for keys, values in self.cached:
            for layer, own in keys.channels.items():
                if (own & values.channels.get(layer, torch.zeros_like(own))).any():
                    return "makes keys and values of the same numbers"
        return ""

    def go(self) -> None:
        """Run the model."""
        config: Any = self.model.config
        takes = self.argument and not getattr(config, "is_encoder_decoder", False)
        cache = {self.argument: cache_of(self.model, self._updated)} if takes else {}
        hooks = [layer.register_forward_hook(self._leaf) for layer in _projections(self.model)]
        try:
            with (
                torch.inference_mode(False),
                torch.enable_grad(),
                torch.random.fork_rng(devices=[]),
                attention_calls(self._attended),
            ):
                few_tokens_output(self.model, **cache)
        except RequestError:
            raise
        except (TypeError, ValueError, AttributeError, LookupError, RuntimeError) as error:
            name, said = type(self.model).__name__, " ".join(str(error).split())
            raise RequestError(f"kv: {name} does not run over {TOKENS} tokens: {said}") from error
        finally:
            for hook in hooks:
                hook.remove()

    def _leaf(self, layer: nn.Module, _args: object, output: object) -> torch.Tensor | None:
        """Let graphs of gradients begin at what a layer gives."""
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return None
        leaf = output.detach().requires_grad_()
        self.leaves.append((layer, leaf))
        return leaf.clone()  # some models clip it in place

    def _updated(
        self, key: torch.Tensor, value: torch.Tensor, *_rest: object, **_named: object
    ) -> tuple[torch.Tensor, torch.Tensor]:
        self.cached.append((self._states(key), self._states(value)))
        return key, value

    def _attended(
        self, function: Attend, module: nn.Module, tensors: tuple[Any, ...], named: dict[str, Any]
    ) -> Any:  # noqa: ANN401  whatever the function gives
        query, key, value, mask = tensors
        self.attended.append((module, self._states(key), self._states(value)))
        return function(module, query, key, value, mask, **named)

    def _states(self, states: torch.Tensor) -> _States:
        """States with the channels of each layer's output that they depend on."""
        found: dict[nn.Module, torch.Tensor] = {}
        if not states.requires_grad:
            return _States(states.shape, found)
        weights = torch.linspace(1, 2, states.numel(), device=states.device)
        total = (states.float() * weights.reshape(states.shape)).sum()
        outputs = [leaf for _, leaf in self.leaves]
        slopes = torch.autograd.grad(total, outputs, retain_graph=True, allow_unused=True)
        for (layer, leaf), slope in zip(self.leaves, slopes, strict=True):
            if slope is not None:
                reached = slope.reshape(-1, leaf.shape[-1]).ne(0).any(0).cpu()
                found[layer] = reached | found.get(layer, torch.zeros_like(reached))
        return _States(states.shape, {layer: own for layer, own in found.items() if own.any()})

    def parts(
        self, states: _States, are_keys: bool, where: str
    ) -> Iterable[tuple[nn.Module, Part]]:
        """The parts of projections that states are made of, checked by their number."""
        heads, head_dim = states.shape[1], states.shape[-1]
        channels = {layer: own.nonzero()[:, 0] for layer, own in states.channels.items()}
        total = sum(len(own) for own in channels.values())
        kind = "keys" if are_keys else "values"
        # Few heads may be repeated before they are cached; nothing else changes their number.
        if (
            not total
            or (heads * head_dim) % total
            or any(len(c) % head_dim for c in channels.values())
        ):
            raise RequestError(
                f"{where}: its {kind} of {heads} heads of {head_dim} come from {total} channels of "
                f"{len(channels)} linear layers, so its heads are not known"
            )
        return [(layer, Part(own, head_dim, are_keys)) for layer, own in channels.items()]


def _projections(model: nn.Module) -> list[nn.Module]:
    """The layers that can make keys and values, each once."""
    layers = dict.fromkeys(linear_layers(model).values())
    return [layer for layer in layers if not isinstance(layer, _ConvNd)]


def _equal(one: Part, other: Part) -> bool:
    """Whether both are rounded alike; what is keys and values at once is keys."""
    return one.head_dim == other.head_dim and torch.equal(one.channels, other.channels)


def _disjoint(parts: list[Part], name: str) -> tuple[Part, ...]:
    """Parts of one layer, which may not overlap."""
    together = torch.cat([part.channels for part in parts])
    if len(set(together.tolist())) < len(together):
        raise RequestError(f"kv: {name} has channels that are both keys and values of other heads")
    return tuple(parts)


def _by_names(model: nn.Module) -> Sources:
    """The projections of a torch module, by what they are called."""
    found: dict[nn.Module, tuple[Part, ...]] = {}
    for path, layer in linear_layers(model).items():
        owner, _, name = path.rpartition(".")
        if name in PLAIN_KEYS + PLAIN_VALUES:
            width = weight_of(layer).shape[0]
            own = getattr(model.get_submodule(owner), "head_dim", width)
            head_dim = own if isinstance(own, int) and own > 0 and width % own == 0 else width
            found[layer] = (Part(torch.arange(width), head_dim, name in PLAIN_KEYS),)
    if not found:
        known = ", ".join(PLAIN_KEYS + PLAIN_VALUES)
        raise RequestError(f"kv: {type(model).__name__}: no layer is called {known}")
    return Sources(found, why_unmixed="is no model of transformers, whose attention is known")
