"""Watching what layers take in and give, and the gradients of a loss by their outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import nn

Watcher: TypeAlias = Callable[[str, torch.Tensor], None]
"""Is told a layer's name and a tensor, as the layer saw it: not detached, not copied."""


@contextmanager
def watched(
    layers: Mapping[str, nn.Module],
    *,
    inputs: Watcher | None = None,
    outputs: Watcher | None = None,
    gradients: Watcher | None = None,
) -> Iterator[None]:
    """Tell watchers of every call of some layers, for the length of a block.

    Args:
        layers: Name -> layer.
        inputs: Sees the first positional argument of each call, ``[..., in]``.
        outputs: Sees what each call gives, ``[..., out]``; calls that give no tensor are left out.
        gradients: Sees the gradient of what is differentiated by each output, ``[..., out]``.
    """
    hooks = []
    for name, layer in layers.items():
        if inputs is not None:
            hooks.append(layer.register_forward_pre_hook(_on_input(name, inputs)))
        if outputs is not None:
            hooks.append(layer.register_forward_hook(_on_output(name, outputs)))
        if gradients is not None:
            hooks.append(layer.register_forward_hook(_on_gradient(name, gradients)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _on_input(name: str, watcher: Watcher) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(_layer: nn.Module, args: tuple[Any, ...]) -> None:
        watcher(name, args[0])

    return hook


def _on_output(name: str, watcher: Watcher) -> Callable[[nn.Module, Any, Any], None]:
    def hook(_layer: nn.Module, _args: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            watcher(name, output)

    return hook


def _on_gradient(name: str, watcher: Watcher) -> Callable[[nn.Module, Any, Any], None]:
    # At the tensor: a backward hook of the module forbids to add to its output in place.
    def hook(_layer: nn.Module, _args: object, output: Any) -> None:  # noqa: ANN401  torch's own
        if isinstance(output, torch.Tensor) and output.requires_grad:
            hooked: Any = output  # register_hook has no types
            hooked.register_hook(partial(watcher, name))

    return hook
