"""Calibration by hooks, one block of layers at a time, with the inputs that quantized blocks give.

A block is an entry of the model's main list of like layers (a transformer layer). Only the hidden
states between two blocks are kept: ``tokens * width`` numbers, whatever the depth. A model without
such a list is one block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import nn

from quant.common.errors import RequestError
from quant.common.progress import progress_bar
from quant.layers.matrices import linear_layers

CONTEXT = 512
Batch: TypeAlias = torch.Tensor | Mapping[str, Any]
"""A model's one argument, or its arguments by name."""
CalibrationData: TypeAlias = torch.Tensor | Iterable[Batch]
"""Token ids ``[n]``, which are cut into windows of 512, or batches."""
_Call: TypeAlias = tuple[tuple[Any, ...], dict[str, Any]]
"""Positional and keyword arguments."""


@dataclass
class Block:
    """A part of the model, and the inputs it sees.

    Attributes:
        path: Its module path; empty for the whole model.
        module: The block.
        layers: Its layers by full module path.
        inputs: Positional and keyword arguments of each calibration batch.
        references: The outputs of the unquantized block on unquantized inputs, where asked for.
    """

    path: str
    module: nn.Module
    layers: dict[str, nn.Module]
    inputs: list[_Call]
    references: list[torch.Tensor] = field(default_factory=list)

    def run(self) -> list[torch.Tensor]:
        """Return the block's output for every batch."""
        with torch.no_grad():
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
    path = _main_list(model)
    if not path:
        whole = Block("", model, linear_layers(model), [_arguments(batch) for batch in batches])
        if references:
            whole.references = whole.run()
        yield whole
        return
    modules = list(model.get_submodule(path).named_children())
    calls = _first_calls(model, [module for _, module in modules], batches)
    hidden = [calls[0][b][0][0] for b in range(len(batches))]
    exact = list(hidden)
    with progress_bar() as bar:
        task = bar.add_task("blocks", total=len(modules))
        for (name, module), call in zip(modules, calls, strict=True):
            full = f"{path}.{name}"
            layers = {f"{full}.{p}" if p else full: m for p, m in linear_layers(module).items()}
            block = Block(full, module, layers, _with_hidden(call, hidden))
            if references:
                before = Block(full, module, layers, _with_hidden(call, exact))
                exact = block.references = before.run()
            yield block
            hidden = block.run()
            bar.advance(task)


def layers_in_blocks(model: nn.Module) -> set[str]:
    """Return the module paths of the layers that ``blocks`` gives."""
    path = _main_list(model)
    return {p for p in linear_layers(model) if not path or p.startswith(f"{path}.")}


def as_batches(calibration: CalibrationData) -> list[Batch]:
    """Return calibration data as a list of batches.

    Raises:
        RequestError: no batch, or a single token.
    """
    if isinstance(calibration, torch.Tensor) and calibration.dim() == 1:
        if calibration.numel() < 2:
            raise RequestError(f"{calibration.numel()} calibration tokens: at least 2 are needed")
        context = min(CONTEXT, calibration.numel())
        whole = calibration[: calibration.numel() // context * context]
        return [{"input_ids": window[None]} for window in whole.view(-1, context)]
    batches = list(calibration)
    if not batches:
        raise RequestError("calibration holds no batch")
    return batches


def run_model(model: nn.Module, batch: Batch) -> Any:  # noqa: ANN401  whatever the model returns
    """Call a model on one batch."""
    args, kwargs = _arguments(batch)
    if "input_ids" in kwargs and hasattr(model, "config"):
        kwargs = {**kwargs, "use_cache": False} if hasattr(model, "lm_head") else kwargs
    return model(*args, **kwargs)


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
    """Whether entries look like transformer layers: each with several layers of its own."""
    entries = list(model.get_submodule(path).children())
    kinds = {type(entry) for entry in entries}
    return len(kinds) == 1 and all(len(linear_layers(entry)) > 1 for entry in entries)


def _first_calls(
    model: nn.Module, modules: list[nn.Module], batches: list[Batch]
) -> list[list[_Call]]:
    """What every block is called with: ``[block][batch]``, hidden states of the first block only.

    The first batch goes through the whole model, since blocks may differ in their masks; the
    others stop early and share its masks, unless they come with one or have another shape.
    """
    calls: list[list[_Call]] = [[] for _ in modules]

    def note(index: int, last: bool) -> Callable[..., None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            args, kwargs = _split(args, kwargs)
            calls[index].append((args if index == 0 else (None, *args[1:]), kwargs))
            if last:
                raise _Stop

        return hook

    for batch in batches:
        alike = batch is not batches[0] and _shape(batch) == _shape(batches[0]) != ()
        seen = modules[:1] if alike else modules
        hooks = [
            module.register_forward_pre_hook(note(i, i == len(seen) - 1), with_kwargs=True)
            for i, module in enumerate(seen)
        ]
        try:
            with torch.no_grad():
                run_model(model, batch)
        except _Stop:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        for call in calls[1:] if alike else ():
            call.append(call[0])
    return calls


def _shape(batch: Batch) -> tuple[int, ...]:
    """The shape of plain token batches, whose masks depend on nothing else; else ()."""
    if isinstance(batch, dict) and set(batch) == {"input_ids"}:
        return tuple(batch["input_ids"].shape)
    return ()


def _split(args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Call:
    """Hidden states come first, as a positional argument; caches stay out."""
    kwargs = dict(kwargs)
    if not args:
        args = (kwargs.pop("hidden_states"),)
    for name in ("past_key_values", "past_key_value"):
        if name in kwargs:
            kwargs[name] = None
    if "use_cache" in kwargs:
        kwargs["use_cache"] = False
    return args, kwargs


def _with_hidden(calls: list[_Call], hidden: list[torch.Tensor]) -> list[_Call]:
    pairs = zip(calls, hidden, strict=True)
    return [((state, *args[1:]), kwargs) for (args, kwargs), state in pairs]


def _arguments(batch: Batch) -> _Call:
    if isinstance(batch, torch.Tensor):
        return (batch,), {}
    return (), dict(batch)
