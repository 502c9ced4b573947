"""Calibration by hooks, one block of layers at a time, with the inputs that quantized blocks give.

A block is an entry of the model's main list of like layers (a transformer layer). Only the hidden
states between two blocks are kept: ``tokens * width`` numbers, whatever the depth. A model without
such a list is one block.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from quant.common.progress import progress_bar
from quant.layers.batches import CONTEXT, Batch, CalibrationData, as_batches
from quant.layers.coded import held_decoded
from quant.layers.weights import Weight, weights

_Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""


@dataclass
class Block:
    """A part of the model, and the inputs it sees.

    Attributes:
        path: Its module path; empty for the whole model.
        module: The block.
        layers: Its matrices by their paths in the model, those that ``"*"`` does not mean too.
        inputs: Positional and keyword arguments of each calibration batch.
        references: The outputs of the unquantized block on unquantized inputs, where asked for.
    """

    path: str
    module: nn.Module
    layers: dict[str, Weight]
    inputs: list[_Call]
    references: list[torch.Tensor] = field(default_factory=list)

    def run(self) -> list[torch.Tensor]:
        """Return the block's output for every batch."""
        with torch.no_grad(), held_decoded(self.module):
            return [first(self.module(*args, **kwargs)) for args, kwargs in self.inputs]


class _Stop(Exception):  # noqa: N818  not an error: the pass has seen enough
    pass


def blocks(
    model: nn.Module,
    calibration: CalibrationData | None,
    *,
    references: bool = False,
) -> Iterator[Block]:
    """Yield the blocks in order; what the caller does to one shows in the inputs of the next.

    Args:
        model: Any torch model.
        calibration: Token ids ``[n]`` or batches; None: the blocks have no inputs.
        references: Also carry the unquantized model's outputs along.

    Raises:
        RequestError: no batch.
    """
    batches = [] if calibration is None else as_batches(calibration)
    known, path = weights(model), _main_list(model)
    modules = list(model.get_submodule(path).named_children()) if path else []
    calls = _calls_of_blocks(model, [module for _, module in modules], batches)
    if calls is None:
        whole = Block("", model, known, [arguments_of(model, batch) for batch in batches])
        if references:
            whole.references = whole.run()
        yield whole
        return
    hidden = [calls[0][b][0][0] for b in range(len(batches))]
    exact = list(hidden)
    with progress_bar() as bar:
        task = bar.add_task("blocks", total=len(modules))
        for (name, module), call in zip(modules, calls, strict=True):
            full = f"{path}.{name}"
            layers = {p: weight for p, weight in known.items() if _is_inside(p, full)}
            block = Block(full, module, layers, _with_hidden(call, hidden))
            if references:
                before = Block(full, module, layers, _with_hidden(call, exact))
                exact = block.references = before.run()
            yield block
            hidden = block.run()
            bar.advance(task)


def layers_in_blocks(model: nn.Module) -> set[str]:
    """Return the paths of the matrices that ``blocks`` gives."""
    path = _main_list(model)
    return {p for p in weights(model) if not path or _is_inside(p, path)}


def run_model(model: nn.Module, batch: Batch) -> Any:  # noqa: ANN401  whatever the model returns
    """Call a model on one batch."""
    args, kwargs = arguments_of(model, batch)
    return model(*args, **kwargs)


def arguments_of(model: nn.Module, batch: Batch) -> _Call:
    """Return what a model is called with for a batch: without a cache, where it could keep one."""
    if isinstance(batch, torch.Tensor):
        return (batch,), {}
    takes = inspect.signature(model.forward).parameters
    return (), dict(batch) | ({"use_cache": False} if "use_cache" in takes else {})


def first(output: Any) -> torch.Tensor:  # noqa: ANN401  a module may return anything
    """Return a module's main output."""
    while isinstance(output, tuple | list):
        output = output[0]
    if not isinstance(output, torch.Tensor):  # a transformers ModelOutput
        output = next(iter(output.values()))
    assert isinstance(output, torch.Tensor)
    return output


def _main_list(model: nn.Module) -> str:
    """Path of the list of blocks: the ModuleList with the most weights, if it has several."""
    sizes = {
        path: sum(p.numel() for p in module.parameters())
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) > 1
    }
    sizes = {path: size for path, size in sizes.items() if _calls_its_entries(model, path)}
    return max(sizes, key=lambda path: sizes[path], default="")


def _calls_its_entries(model: nn.Module, path: str) -> bool:
    """Whether entries look like transformer layers: each with several matrices of its own."""
    entries = list(model.get_submodule(path).children())
    kinds = {type(entry) for entry in entries}
    return len(kinds) == 1 and all(len(weights(entry)) > 1 for entry in entries)


def _is_inside(path: str, module: str) -> bool:
    return path == module or path.startswith(f"{module}.")


def _calls_of_blocks(
    model: nn.Module, modules: list[nn.Module], batches: list[Batch]
) -> list[list[_Call]] | None:
    """What every block is called with: ``[block][batch]``, hidden states of the first block only.

    A batch goes through the whole model, since it may give each block arguments of its own. Where
    two batches of one shape and other tokens gave all blocks the same, such arguments come from
    the shape alone: then further batches of that shape stop at the first block.

    Returns:
        None where the blocks are not called one after the other, each with what the one before
        gave: the model is one block then.
    """
    if not modules:
        return None
    found: list[list[_Call]] = []
    first_alike: dict[tuple[int, ...], int] = {}  # shape -> a batch whose arguments others share
    for index, batch in enumerate(batches):
        shape = _shape(batch)
        like = first_alike.get(shape, -1) if shape else -1
        own = _calls_of(model, modules if like < 0 else modules[:1], batch)
        if own is None:
            return None
        if like >= 0 and _same(own[0][1:], found[like][0][1:]):
            own += found[like][1:]
        elif like >= 0:
            own = _calls_of(model, modules, batch) or []
        if like < 0 and shape:
            for before in range(index):
                if _shape(batches[before]) == shape and _alike(own, found[before]):
                    first_alike[shape] = before
        found.append(own)
    return [[calls[block] for calls in found] for block in range(len(modules))]


def _calls_of(model: nn.Module, modules: list[nn.Module], batch: Batch) -> list[_Call] | None:
    """What some blocks are called with by one batch; None: not in a chain."""
    calls: list[_Call] = []
    outputs: list[torch.Tensor] = []
    is_chain = True

    def before(index: int) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            nonlocal is_chain
            args, kwargs = _split(args, kwargs)
            expected = len(calls) == index == len(outputs)
            hidden = args[0] if args else None
            if index and expected:
                expected = hidden is outputs[-1] or _same(hidden, outputs[-1])
            is_chain = is_chain and expected and isinstance(hidden, torch.Tensor)
            calls.append((args if index == 0 else (None, *args[1:]), kwargs))
            if index + 1 == len(modules):
                raise _Stop

        return hook

    def after(_module: nn.Module, _args: object, output: object) -> None:
        outputs.append(first(output))

    hooks: list[Any] = []
    for index, module in enumerate(modules):
        hooks.append(module.register_forward_pre_hook(before(index), with_kwargs=True))
        hooks.append(module.register_forward_hook(after))
    try:
        with torch.no_grad(), held_decoded(model):
            run_model(model, batch)
    except _Stop:
        pass
    finally:
        for hook in hooks:
            hook.remove()
    return calls if is_chain and len(calls) == len(modules) else None


def _alike(one: list[_Call], other: list[_Call]) -> bool:
    """Whether two batches gave all blocks the same, but for the hidden states."""
    pairs = zip(one, other, strict=True)
    return all(_same((a[0][1:], a[1]), (b[0][1:], b[1])) for a, b in pairs)


def _same(one: object, other: object) -> bool:
    """Whether two arguments are equal, tensors by their values."""
    if one is other:
        return True
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list) and isinstance(other, tuple | list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, int | float | str | bool) and one == other


def _shape(batch: Batch) -> tuple[int, ...]:
    """The shape of plain token batches; else ()."""
    if isinstance(batch, dict) and set(batch) == {"input_ids"}:
        return tuple(batch["input_ids"].shape)
    return ()


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
    """Hidden states come first, as a positional argument; caches stay out."""
    kwargs = dict(kwargs)
    if not args:
        args = (kwargs.pop("hidden_states", None),)
    for name in ("past_key_values", "past_key_value"):
        if name in kwargs:
            kwargs[name] = None
    if "use_cache" in kwargs:
        kwargs["use_cache"] = False
    return args, kwargs


def _with_hidden(calls: list[_Call], hidden: list[torch.Tensor]) -> list[_Call]:
    pairs = zip(calls, hidden, strict=True)
    return [((state, *args[1:]), kwargs) for (args, kwargs), state in pairs]


__all__ = [
    "CONTEXT",
    "Batch",
    "Block",
    "CalibrationData",
    "arguments_of",
    "as_batches",
    "blocks",
    "first",
    "layers_in_blocks",
    "run_model",
]
