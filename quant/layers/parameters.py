"""Parameters of a model seen from its matrices: what is no codes, and others put in their place."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from quant.layers.coded import CodedWeight
from quant.layers.weights import Owner, Weight, weights


def unquantized(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return all numbers of a model that are no codes, each once: parameters and buffers.

    Of a stack of matrices that is quantized in part, the others by their paths.
    """
    state = model.state_dict()
    rest = {name: value.detach() for name, value in model.named_buffers() if name in state}
    partly: dict[int, str] = {}
    for name, value in model.named_parameters():
        if isinstance(value, CodedWeight):
            partly[id(value)] = name
        else:
            rest[name] = value.detach()
    for weight in weights(model).values():
        part = weight.part
        if id(weight.parameter) in partly and isinstance(part, torch.Tensor):
            rest[weight.path] = part
    return rest


def as_parameters(
    values: Mapping[Weight, torch.Tensor], module: str = ""
) -> dict[str, torch.Tensor]:
    """Return parameters that have other matrices, for ``torch.func.functional_call``.

    Args:
        values: Matrix -> its values ``[out, in]``, with their gradients.
        module: Path of the module that is called; its own names leave it out.

    Returns:
        Name of each parameter, at each of its places, -> its values.
    """
    stacks: dict[tuple[Owner, ...], dict[int, torch.Tensor]] = {}
    some: dict[tuple[Owner, ...], Weight] = {}
    for weight, matrix in values.items():
        stacks.setdefault(weight.owners, {})[weight.index] = weight.shaped(matrix)
        some[weight.owners] = weight
    found = {}
    for owners, parts in stacks.items():
        weight = some[owners]
        own = weight.parameter
        whole = parts.get(0)
        if weight.layout.is_stack:
            stored = range(weight.layout.count)
            whole = torch.stack([parts.get(i, weight.layout.part(own, i)) for i in stored])
        for owner in owners:
            name = f"{owner.path}.{owner.name}" if owner.path else owner.name
            if not module or name.startswith(f"{module}."):
                assert whole is not None
                found[name.removeprefix(f"{module}.") if module else name] = whole
    return found
