"""Watching the gradients of a loss by what matrices give, whatever module multiplies with them.

As ``quant.layers.inputs``: a matrix is known by the memory that it lies in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from quant.layers.inputs import Places, Seen, experts_one_by_one
from quant.layers.weights import Weight

_PRODUCTS: frozenset[Callable[..., Any]] = frozenset(
    {
        nn.functional.linear,
        torch.matmul,
        torch.Tensor.matmul,
        torch.Tensor.__matmul__,
        torch.mm,
        torch.Tensor.mm,
        torch.bmm,
        torch.Tensor.bmm,
    }
)
"""What multiplies its first two arguments."""
_CONVOLUTIONS: frozenset[Callable[..., Any]] = frozenset({torch.conv1d, torch.conv2d, torch.conv3d})
"""What slides its second argument over its first; channels come second in what it gives."""


@contextmanager
def watched_gradients(
    model: nn.Module, weights: Mapping[str, Weight], seen: Seen
) -> Iterator[None]:
    """Tell ``seen`` the gradients by the outputs of some matrices, for the length of a block.

    Both passes are run inside the block. Experts are run one after the other meanwhile.

    Args:
        model: The model, or the part of it, that is run.
        weights: Path -> matrix, none of them quantized.
        seen: Is told of each product's gradient ``[n, out]``, in the order of the backward pass.
    """
    with experts_one_by_one(model), _Watch(weights.values(), seen):
        yield


class _Watch(TorchFunctionMode):
    """Looks for views of known memory among the factors of products."""

    def __init__(self, weights: Iterable[Weight], seen: Seen) -> None:
        super().__init__()
        self.seen = seen
        self.find = Places(weights).find

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the function gives
        output = func(*args, **(kwargs or {}))
        if func not in _PRODUCTS | _CONVOLUTIONS or not output.requires_grad:
            return output
        first, second = (*args, *(kwargs or {}).values())[:2]
        if func in _CONVOLUTIONS:
            for weight, _ in self.find(second):
                output.register_hook(partial(self.tell_channels, weight))
            return output
        for weight, place in self.find(second):
            output.register_hook(partial(self.tell, weight, place, False))
        for weight, place in self.find(first):
            output.register_hook(partial(self.tell, weight, place, True))
        return output

    def tell(
        self, weight: Weight, place: int | None, is_turned: bool, gradient: torch.Tensor
    ) -> None:
        """Report what a product's output got; turned: its rows are the matrix's."""
        own = gradient if place is None or gradient.dim() < 3 else gradient[place]
        own = own.mT if is_turned and own.dim() > 1 else own
        if own.shape[-1] == weight.shape[0]:
            self.seen(weight.path, own.detach().reshape(-1, own.shape[-1]).float())

    def tell_channels(self, weight: Weight, gradient: torch.Tensor) -> None:
        """Report what a convolution's output got, ``[batch, out, *places]`` or without a batch."""
        rows = gradient.detach().movedim(-weight.parameter.dim() + 1, -1)
        self.seen(weight.path, rows.reshape(-1, rows.shape[-1]).float())
