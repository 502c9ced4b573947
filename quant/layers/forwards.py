"""What the code of a module's forward asks for and does, read from its names without running it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from types import CodeType

from torch import nn

from quant.common.errors import RequestError

IN_PLACE = ("mul_", "div_")
"""What rescales a parameter where it lies."""


def forward_code(kind: type[nn.Module]) -> Iterator[CodeType]:
    """Yield the code of a class's forward, and of its methods that are called from there."""
    names, seen = ["forward"], {"forward"}
    while names:
        own = inspect.unwrap(getattr(kind, names.pop(), None))  # type: ignore[arg-type]  # or None
        code = getattr(own, "__code__", None)
        if isinstance(code, CodeType):
            yield code
            called = {n for n in code.co_names if inspect.isfunction(getattr(kind, n, None))} - seen
            names, seen = [*names, *called], seen | called


def asks_for(model: nn.Module, name: str) -> bool:
    """Whether a forward in a model reads something of that name."""
    kinds = {type(module) for module in model.modules()}
    return any(name in code.co_names for kind in kinds for code in forward_code(kind))


def check_unchanging(model: nn.Module) -> None:
    """Refuse a model that rescales its weights when it runs: codes cannot change so.

    Raises:
        RequestError: naming the class whose forward does (RWKV's does in evaluation).
    """
    for kind in {type(module) for module in model.modules()}:
        for code in forward_code(kind):
            if "weight" in code.co_names and any(name in code.co_names for name in IN_PLACE):
                raise RequestError(
                    f"{kind.__name__} rescales its weights in place when it runs: codes cannot be "
                    "rescaled, and a checkpoint would be a second time"
                )
