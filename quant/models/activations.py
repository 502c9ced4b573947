"""Rounding activations and the KV cache on the fly, to evaluate formats without codes to keep.

``int8:row`` is one scale a token, ``int8:g128`` one for 128 channels, ``mxfp8-e4m3`` OCP blocks.
Keys and values: ``quant.models.kv``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.overrides import TorchFunctionMode

from quant.common import arguments
from quant.common.errors import HwsimError, RequestError
from quant.common.progress import say
from quant.formats.spec import FormatSpec, as_spec, specification
from quant.layers.inputs import experts_one_by_one
from quant.layers.kinds import APART_HEAD
from quant.layers.weights import Weight, is_table, weights
from quant.models.kv import rounded_cache
from quant.models.kv_groups import rounded
from quant.models.kv_options import CacheRounding

_PRODUCTS = {
    nn.functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__,
    torch.mm, torch.Tensor.mm, torch.bmm, torch.Tensor.bmm,
}  # fmt: skip
"""What experts in a stack multiply by, one by one; the first factor is the tokens."""


@contextmanager
def rounded_activations(
    model: nn.Module,
    inputs: str | FormatSpec | None = None,
    kv: str | FormatSpec | None = None,
    *,
    keys: str = "token",
    recent: int = 0,
    sinks: int = 0,
    rotary: str = "before",
) -> Iterator[None]:
    """Round a model's activations for the length of a block.

    Args:
        model: A torch model, quantized or not.
        inputs: Format of the inputs of every layer and expert but the head, along their channels;
            None: as they are. Layers that were not run through their modules are named at the end.
        kv: Format of keys and values; None: as they are. A group lies within one head. Of a
            compressed cache (MLA) it is that of the latent and of the rotary part.
        keys: ``"token"``: groups of keys lie within a token; ``"channel"``: they are tokens of a
            channel in a row, rounded once the last one has come (KIVI). Values are always by token.
        recent: For a query at position t, keys and values after t - recent are exact.
        sinks: The first tokens of each sequence (padding counts), which stay exact.
        rotary: ``"before"``: keys are rounded as projections give them (KVQuant, arXiv
            2401.18079); ``"after"``: as the model hands them to its cache.

    Raises:
        RequestError: an unknown format, or a model of which something could not be rounded as
            asked: without keys and values, with attention of its own kind.

    With any option but the first ones the text has to come in one call, without a cache.
    """
    arguments.one_of("model", model, nn.Module, "a torch module")
    options = CacheRounding(keys, recent, sinks, rotary)
    options.check_used(kv)
    formats = [
        None if own is None else specification(as_spec(own, name))
        for own, name in ((inputs, "inputs"), (kv, "kv"))
    ]
    with ExitStack() as stack:
        if formats[0] is not None:
            rounding = partial(rounded, spec=formats[0])
            # One by one, tokens are the first factor; in a batch they are the second.
            stack.enter_context(experts_one_by_one(model))
            stack.enter_context(_rounded_inputs(weights(model).values(), rounding))
        if formats[1] is not None:
            stack.enter_context(rounded_cache(model, formats[1], options))
        yield


@contextmanager
def _rounded_inputs(
    found: Iterable[Weight], rounding: Callable[[torch.Tensor], torch.Tensor]
) -> Iterator[None]:
    """Round what the matrices of a model are multiplied with."""
    layers, stacks = _modules(found)
    idle = dict(layers)
    with ExitStack() as stack:
        for path, layer in layers.items():
            hook = partial(_round_input, rounding, partial(idle.pop, path, None))
            stack.callback(layer.register_forward_pre_hook(hook, with_kwargs=True).remove)
        for path, experts in stacks.items():
            mode = _Products(path, rounding)
            stack.callback(experts.register_forward_pre_hook(mode.enter).remove)
            leave = experts.register_forward_hook(mode.leave, always_call=True)
            stack.callback(leave.remove)
        yield
    if 0 < len(idle) < len(layers):
        say(f"the inputs of {len(idle)} layers were not rounded: not called: {next(iter(idle))}")


def _modules(found: Iterable[Weight]) -> tuple[dict[str, nn.Module], dict[str, nn.Module]]:
    """The layers but the head, and the experts in a stack, by path.

    Raises:
        RequestError: a matrix that neither has: attention of torch's own.
    """
    layers: dict[str, nn.Module] = {}
    stacks: dict[str, nn.Module] = {}
    for weight in found:
        owner = weight.owners[0]
        if weight.apart == APART_HEAD or is_table(owner.module):
            continue
        if weight.is_layer:
            layers[owner.path] = owner.module
        elif weight.layout.is_stack:
            stacks[owner.path] = owner.module
        else:
            kind = type(owner.module).__name__
            raise RequestError(f"inputs: {weight.path}: the inputs in a {kind} cannot be rounded")
    return layers, stacks


def _round_input(
    rounding: Callable[[torch.Tensor], torch.Tensor],
    called: Callable[[], object],
    layer: nn.Module,
    args: tuple[Any, ...],
    named: dict[str, Any],
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Round the one tensor that a layer takes; channels are last but in convolutions."""
    called()
    axis = -layer.weight.dim() + 1 if isinstance(layer, _ConvNd) else -1
    if args:
        return (rounding(args[0].movedim(axis, -1)).movedim(-1, axis), *args[1:]), named
    name = next(name for name, value in named.items() if isinstance(value, torch.Tensor))
    return args, {**named, name: rounding(named[name].movedim(axis, -1)).movedim(-1, axis)}


class _Products(TorchFunctionMode):
    """Rounds the tokens that experts in a stack multiply with, while they run."""

    def __init__(self, path: str, rounding: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.path, self.rounding, self.count = path, rounding, 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the operator gives
        if func in _PRODUCTS and args[0].numel():
            self.count += 1
            args = (self.rounding(args[0]), *args[1:])
        return func(*args, **(kwargs or {}))

    def enter(self, _module: nn.Module, _args: object) -> None:
        """Begin with a module's call."""
        self.count = 0
        self.__enter__()  # type: ignore[no-untyped-call]  # torch's has no types

    def leave(self, _module: nn.Module, _args: object, _output: object) -> None:
        """End with it."""
        self.__exit__(None, None, None)  # type: ignore[no-untyped-call]  # as above
        if not self.count:
            raise HwsimError(f"inputs: {self.path}: its products were not seen, nor rounded")
