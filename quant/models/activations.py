"""Rounding activations and the KV cache on the fly, to evaluate formats without codes to keep.

``int8:row`` is one scale a token, ``int8:g128`` one for 128 channels, ``mxfp8-e4m3`` OCP blocks.
Keys and values are rounded as the projections make them (keys before their rotary embedding, as
KVQuant, arXiv 2401.18079, advises): a group is at most one head, and any format will do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from quant.common import arguments
from quant.common.errors import RequestError
from quant.formats.spec import FormatSpec, as_spec, specification
from quant.layers.matrices import linear_layers
from quant.plan import HEAD
from quant.tensors.quantize import quantize

KV_NAMES = ("k_proj", "v_proj", "key", "value", "query_key_value")


@contextmanager
def rounded_activations(
    model: nn.Module, inputs: str | FormatSpec | None = None, kv: str | FormatSpec | None = None
) -> Iterator[None]:
    """Round a model's activations for the length of a block.

    Args:
        model: A torch model, quantized or not.
        inputs: Format of the inputs of every linear layer but the head; None: as they are.
        kv: Format of keys and values; None: as they are.

    Raises:
        RequestError: an unknown format, or ``kv`` for a model without key and value projections.
    """
    arguments.one_of("model", model, nn.Module, "a torch module")
    layers = {path: layer for path, layer in linear_layers(model).items() if path != HEAD}
    hooks = []
    if inputs is not None:
        before = _rounding_inputs(specification(as_spec(inputs, "inputs")))
    if kv is not None:
        named = [layer for path, layer in layers.items() if path.split(".")[-1] in KV_NAMES]
        if not named:
            raise RequestError(f"kv={str(kv)!r}: no layer is called {', '.join(KV_NAMES)}")
        after = _rounding_outputs(specification(as_spec(kv, "kv")))
        hooks += [layer.register_forward_hook(after) for layer in named]
    if inputs is not None:
        hooks += [layer.register_forward_pre_hook(before) for layer in layers.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def rounded(values: torch.Tensor, spec: FormatSpec) -> torch.Tensor:
    """Return ``values [..., channels]`` as the codes of a format mean them, in their own type."""
    flat = values.detach().reshape(-1, values.shape[-1])
    decoded = torch.from_numpy(quantize(flat, spec).dequantize())
    return decoded.reshape(values.shape).to(values.dtype)


def _rounding_inputs(spec: FormatSpec) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    def hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (rounded(args[0], spec), *args[1:])

    return hook


def _rounding_outputs(spec: FormatSpec) -> Callable[..., torch.Tensor]:
    def hook(_module: nn.Module, _args: tuple[Any, ...], output: torch.Tensor) -> torch.Tensor:
        return rounded(output, spec)

    return hook
