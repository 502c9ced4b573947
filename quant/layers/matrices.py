"""A layer's weight as a matrix, and what its rows are multiplied with."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.layers.kinds import layout_of
from quant.layers.linear import QuantizedLinear
from quant.layers.weights import Owner, Weight, weights


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules whose output is their input times a matrix, by path.

    Linear layers and convolutions; experts in a stack and the like have no module of their own:
    ``quant.layers.weights.weights`` lists those too.
    """
    return {path: weight.module for path, weight in weights(model).items() if weight.is_layer}


def weight_of(layer: nn.Module | Weight) -> Weight:
    """Return the matrix of a layer.

    Raises:
        RequestError: a module without one.
    """
    if isinstance(layer, Weight):
        return layer
    own = layer._parameters.get("weight")
    layout = None if own is None else layout_of(layer, "weight", own)
    if layout is None:
        raise RequestError(f"{type(layer).__name__} has no weight that is one matrix")
    return Weight("", (Owner("", layer, "weight"),), layout)


def matrix(layer: nn.Module | Weight) -> F32:
    """Return a copy of a layer's weight as ``[out, in]`` float32.

    Raises:
        RequestError: it is on the meta device, or no layer.
    """
    return weight_of(layer).matrix()


def set_matrix(layer: nn.Module | Weight, values: F32) -> None:
    """Give a layer another weight, in place."""
    weight_of(layer).set_matrix(values)


def as_weight(layer: nn.Module | Weight, values: torch.Tensor) -> torch.Tensor:
    """Return a matrix ``[out, in]`` in the shape and type of the layer's own weight."""
    return weight_of(layer).shaped(values)


def columns(layer: nn.Module | Weight, inputs: torch.Tensor) -> torch.Tensor:
    """Return what the rows of a layer's matrix are multiplied with, ``[n, in]`` float32.

    For grouped convolutions the columns of all groups, one after the other.
    """
    module = layer.module if isinstance(layer, Weight) else layer
    if not isinstance(module, _ConvNd):
        return inputs.detach().reshape(-1, inputs.shape[-1]).float()
    # Modes other than zeros pad by themselves, before they convolve.
    padding = module.padding if isinstance(module.padding, tuple) else None
    return patches(inputs, module.weight.shape, module.stride, padding, module.dilation)


def patches(
    inputs: torch.Tensor,
    kernel: torch.Size,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | None,
    dilation: tuple[int, ...],
) -> torch.Tensor:
    """Return the patches that a convolution multiplies with, ``[n, in/groups * kernel]`` float32.

    Args:
        inputs: ``[batch, channels, *sides]``, or without the batch.
        kernel: Shape of the weight, ``[out, in/groups, *sizes]``.
        stride: Of each side.
        padding: Zeros at both ends of each side; None: as many as keep the length.
        dilation: Of each side.
    """
    sizes = kernel[2:]
    values = inputs.detach().float()
    if values.dim() == len(sizes) + 1:
        values = values[None]
    reach = [step * (size - 1) for size, step in zip(sizes, dilation, strict=True)]
    both = [(n // 2, n - n // 2) for n in reach] if padding is None else [(n, n) for n in padding]
    values = nn.functional.pad(values, [n for pair in reversed(both) for n in pair])
    for side, (length, step) in enumerate(zip(reach, stride, strict=True)):
        values = values.unfold(2 + side, length + 1, step)
    for side, step in enumerate(dilation):
        at = 2 + len(sizes) + side
        values = values.index_select(at, torch.arange(0, values.shape[at], step))
    # [batch, channels, *places, *sizes] -> [batch, *places, channels, *sizes]
    places = list(range(2, 2 + len(sizes)))
    ends = list(range(2 + len(sizes), values.dim()))
    return values.permute(0, *places, 1, *ends).reshape(-1, kernel[1:].numel())


__all__ = [
    "QuantizedLinear",
    "as_weight",
    "columns",
    "linear_layers",
    "matrix",
    "patches",
    "set_matrix",
    "weight_of",
]
