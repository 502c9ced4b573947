"""CodedWeight: a parameter that is codes, decoded where an operator of torch meets it.

A module keeps its class and its own ``forward``; only its parameter is another tensor. So experts
in a stack, attention with fused inputs, convolutions and layers with a forward of their own compute
with codes as plain linear layers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import torch
from torch import nn
from torch.utils._pytree import tree_map

from quant.common.errors import RequestError
from quant.layers.layout import Layout
from quant.tensors.tensor import QuantizedTensor

Part: TypeAlias = QuantizedTensor | torch.Tensor
"""A matrix as codes, or as it is stored where it is not quantized."""
_CASTS = (
    torch.Tensor.to, torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16,
    torch.Tensor.double, torch.Tensor.type,
)  # fmt: skip
_SET_DATA: Callable[[torch.Tensor, torch.Tensor], None] = torch.Tensor.data.__set__  # type: ignore[attr-defined]  # a property
_QUESTIONS = (
    torch.Tensor.size, torch.Tensor.dim, torch.Tensor.numel, torch.Tensor.element_size,
    torch.Tensor.is_floating_point, torch.Tensor.is_complex, torch.Tensor.requires_grad_,
    torch.Tensor.__len__, torch.Tensor.__hash__, torch.Tensor.ndimension, torch.Tensor.stride,
    torch.Tensor.is_contiguous, torch.Tensor.get_device, torch.Tensor.nelement,
)  # fmt: skip
"""What is asked of the tensor around the codes: nothing is decoded for it."""


class CodedWeight(torch.Tensor):
    """Codes of one or several matrices that torch takes for a tensor of their values.

    Attributes:
        parts: Each matrix as codes, or as it is.
        form: Where they are in the tensor.
    """

    parts: tuple[Part, ...]
    form: Layout
    _dense: torch.Tensor | None

    @staticmethod
    def __new__(
        cls: type[CodedWeight], parts: Iterable[Part], layout: Layout, dtype: torch.dtype
    ) -> CodedWeight:
        """Return a tensor of ``layout.shape`` on the CPU."""
        made: CodedWeight = torch.Tensor._make_wrapper_subclass(
            cls, layout.shape, dtype=dtype, requires_grad=False
        )
        made.parts, made.form, made._dense = tuple(parts), layout, None
        made._is_param = True  # as nn.Parameter marks what a module may hold
        return made

    def decoded_part(self, index: int) -> torch.Tensor:
        """Return one matrix in the shape and type that it is computed with."""
        if self._dense is not None:
            return self.form.part(self._dense, index)
        part = self.parts[index]
        if isinstance(part, torch.Tensor):
            return part.to(self.dtype)
        return self.form.stored(torch.from_numpy(part.dequantize())).to(self.dtype)

    def decoded(self) -> torch.Tensor:
        """Return the values of all matrices, of this tensor's shape and type."""
        if self._dense is not None:
            return self._dense
        if not self.form.is_stack:
            return self.decoded_part(0)
        return torch.stack([self.decoded_part(index) for index in range(self.form.count)])

    def keep_decoded(self, keep: bool) -> None:
        """Hold the values beside the codes, or let them go."""
        self._dense = self.decoded() if keep else None

    @property
    def is_decoded(self) -> bool:
        """Whether the values are held beside the codes."""
        return self._dense is not None

    def with_part(self, index: int, part: Part) -> CodedWeight:
        """Return this with another matrix at a place."""
        parts = (*self.parts[:index], part, *self.parts[index + 1 :])
        return CodedWeight(parts, self.form, self.dtype)

    def __repr__(self) -> str:  # type: ignore[override]  # torch's has a keyword
        kinds = sorted({_kind(part) for part in self.parts})
        return f"CodedWeight({tuple(self.shape)}, {self.dtype}, {', '.join(kinds)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> CodedWeight:
        made = memo[id(self)] = self._like(self.dtype)  # codes never change, so they are shared
        return made

    def __reduce_ex__(self, _protocol: object) -> tuple[Any, ...]:
        return CodedWeight, (self.parts, self.form, self.dtype)

    def _like(self, dtype: torch.dtype) -> CodedWeight:
        made = CodedWeight(self.parts, self.form, dtype)
        if self._dense is not None:
            made._dense = self._dense.to(dtype)
        return made

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  whatever the operator gives
        kwargs = kwargs or {}
        own = args[0] if args and isinstance(args[0], cls) else None
        if own is not None:
            if func == _SET_DATA:
                return own._become(args[1])
            if func in _CASTS:
                return own._cast(func, args[1:], kwargs)
            name = getattr(func, "__name__", "")
            if func is torch.Tensor.__getitem__ and own.form.is_stack and _is_index(args[1]):
                return own.decoded_part(int(args[1]))
            if func in _QUESTIONS or (name == "__get__" and not _is_view(func)):
                with torch._C.DisableTorchFunctionSubclass():
                    return func(*args, **kwargs)
            if name in ("__set__", "__setitem__") or (name.endswith("_") and name[0] != "_"):
                if name == "__set__":
                    with torch._C.DisableTorchFunctionSubclass():
                        return func(*args, **kwargs)
                raise RequestError(f"a quantized weight cannot be changed in place ({name})")
        return func(*tree_map(_values, args), **tree_map(_values, kwargs))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's own declaration is no classmethod
        cls,
        func: Any,  # noqa: ANN401  torch's own kind of operator
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  as above
        """For operators that are called from within torch."""
        if func in (torch.ops.aten.detach.default, torch.ops.aten.alias.default):
            return args[0]._like(args[0].dtype)
        return func(*tree_map(_values, args), **tree_map(_values, kwargs or {}))

    def _cast(
        self, func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CodedWeight:
        """This in another type; values of another device or layout are no affair of codes."""
        with torch._C.DisableTorchFunctionSubclass():
            probe = func(torch.empty(0, dtype=self.dtype), *args, **kwargs)
        if probe.device.type != "cpu":
            raise RequestError(f"quantized weights stay on the CPU, not on {probe.device}")
        return self if probe.dtype == self.dtype else self._like(probe.dtype)

    def _become(self, other: object) -> None:
        if not isinstance(other, CodedWeight):
            raise RequestError("the values of a quantized weight cannot be set")
        with torch._C.DisableTorchFunctionSubclass():
            _SET_DATA(self, other)
        self.parts, self.form, self._dense = other.parts, other.form, other._dense


def keep_decoded(model: nn.Module) -> None:
    """Hold the values of all codes of a model beside them from now on."""
    for parameter in model.parameters():
        if isinstance(parameter, CodedWeight) and not parameter.is_decoded:
            parameter.keep_decoded(True)


@contextmanager
def held_decoded(model: nn.Module) -> Iterator[None]:
    """Hold the values of all codes of a model for the length of a block: no call decodes again."""
    own = {id(p): p for p in model.parameters() if isinstance(p, CodedWeight)}
    turned = [weight for weight in own.values() if not weight.is_decoded]
    try:
        for weight in turned:
            weight.keep_decoded(True)
        yield
    finally:
        for weight in turned:
            weight.keep_decoded(False)


def _kind(part: Part) -> str:
    return "not quantized" if isinstance(part, torch.Tensor) else str(part.spec)


def _is_index(index: object) -> bool:
    if isinstance(index, torch.Tensor):
        return index.dim() == 0 and not index.is_floating_point() and index.dtype != torch.bool
    return isinstance(index, int) and not isinstance(index, bool)


def _is_view(getter: Callable[..., Any]) -> bool:
    return getattr(getter, "__self__", None) in (
        torch.Tensor.T, torch.Tensor.mT, torch.Tensor.H, torch.Tensor.mH, torch.Tensor.real,
    )  # fmt: skip


def _values(value: Any) -> Any:  # noqa: ANN401  a leaf of the arguments
    return value.decoded() if isinstance(value, CodedWeight) else value
