"""Watching what matrices are multiplied with, whatever module multiplies, and by which call.

A matrix is known by the memory that it lies in: an operator of torch that is given a view of it is
one that multiplies with it. So experts that a stack is indexed for, attention that splits its own
weight, and layers that compute with another module's weight are seen like plain linear ones. What
multiplies with a copy of a matrix is not seen: such a matrix counts as never reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from quant.layers.matrices import patches
from quant.layers.weights import Weight

Seen: TypeAlias = Callable[[str, torch.Tensor], None]
"""Is told a matrix's path and what its rows were multiplied with, ``[n, in]`` float32."""
_aten = torch.ops.aten
_PRODUCTS = {
    _aten.mm.default: (0, 1), _aten.addmm.default: (1, 2),
    _aten.bmm.default: (0, 1), _aten.baddbmm.default: (1, 2),
    _aten.mv.default: (0, 1), _aten.addmv.default: (1, 2),
}  # fmt: skip
"""Operators, and where their two factors are among the arguments."""


@contextmanager
def watched_inputs(model: nn.Module, weights: Mapping[str, Weight], seen: Seen) -> Iterator[None]:
    """Tell ``seen`` of every product with one of some matrices, for the length of a block.

    Experts are run one after the other meanwhile, since a grouped product takes copies.

    Args:
        model: The model, or the part of it, that is run.
        weights: Path -> matrix, none of them quantized.
        seen: Is told of each product, in the order of the calls.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # it takes the weights in one piece
    try:
        with experts_one_by_one(model), _Watch(weights.values(), seen):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def experts_one_by_one(model: nn.Module) -> Iterator[None]:
    """Let transformers' experts compute one at a time, in place of grouped products."""
    configs = {id(c): c for m in model.modules() if (c := getattr(m, "config", None)) is not None}
    name = "_experts_implementation"
    before = {key: getattr(c, name) for key, c in configs.items() if hasattr(c, name)}
    try:
        for key in before:
            setattr(configs[key], name, "eager")
        yield
    finally:
        for key, value in before.items():
            setattr(configs[key], name, value)


class Places:
    """Where matrices lie in memory."""

    def __init__(self, weights: Iterable[Weight]) -> None:
        self.known: dict[int, list[tuple[int, int, Weight]]] = {}
        for weight in weights:
            view = weight.stored
            place = int(view.storage_offset())
            spans = self.known.setdefault(_memory(view), [])
            spans.append((place, place + view.numel(), weight))

    def find(self, view: object) -> Iterator[tuple[Weight, int | None]]:
        """The matrices in a tensor's memory; of a batch of them also the place of each."""
        if not isinstance(view, torch.Tensor):
            return
        start, size = view.storage_offset(), _span(view)
        for least, end, weight in self.known.get(_memory(view), ()):
            if least <= start and start + size <= end:
                yield weight, None
            elif start <= least and end <= start + size and view.dim() == 3:
                step = view.stride(0)
                yield weight, (least - start) // step if step else None


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's has no types
    """Looks for views of known memory among the arguments of products."""

    def __init__(self, weights: Iterable[Weight], seen: Seen) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.seen = seen
        self.find = Places(weights).find

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  torch's own kind of operator
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the operator gives
        if func in _PRODUCTS:
            first, second = (args[place] for place in _PRODUCTS[func])
            for weight, index in self.find(second):
                self.tell(weight, _at(first, index), _is_turned(second, weight))
            for weight, index in self.find(first):
                other = _at(second, index)
                columns = other[:, None] if other.dim() == 1 else other
                self.tell(weight, columns.mT, not _is_turned(first, weight))
        elif func is _aten.linear.default:
            for weight, _ in self.find(args[1]):
                self.tell(weight, args[0], True)
        elif func is _aten.convolution.default:
            for weight, _ in self.find(args[1]):
                inputs, kernel, _, stride, padding, dilation = args[:6]
                x = patches(inputs, kernel.shape, tuple(stride), tuple(padding), tuple(dilation))
                self.seen(weight.path, x)
        return func(*args, **(kwargs or {}))

    def tell(self, weight: Weight, inputs: torch.Tensor, is_turned: bool) -> None:
        """Report a product, unless the matrix was multiplied from its other side."""
        if is_turned and inputs.shape[-1] == weight.shape[1]:
            self.seen(weight.path, inputs.detach().reshape(-1, inputs.shape[-1]).float())


def _memory(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _span(view: torch.Tensor) -> int:
    """How far a view reaches in its memory, in elements."""
    sizes = zip(view.shape, view.stride(), strict=True)
    return 1 + sum((size - 1) * step for size, step in sizes)


def _at(batch: torch.Tensor, index: int | None) -> torch.Tensor:
    return batch if index is None or batch.dim() < 3 else batch[index]


def _is_turned(view: torch.Tensor, weight: Weight) -> bool:
    """Whether a factor is the matrix as ``[in, out]``: then its rows meet the inputs' columns."""
    rows, columns = weight.shape
    if rows != columns:
        return view.shape[-2:] == (columns, rows) or (view.dim() == 1 and rows == 1)
    contiguous = view.stride(-1) == 1
    return contiguous == weight.layout.is_transposed
