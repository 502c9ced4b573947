"""Call: what a trace sees of one of torch's kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from quant.formats.spec import FormatSpec

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Call:
    """One kernel.

    Attributes:
        function: Its name, without torch's namespace.
        activations: Format of activations.
        arguments: All of them, in the order of its schema, defaults too.
        result: What it returned.
        parameter: Says which parameter a tensor is, and whether it was counted before.
        names: Of the arguments.
        is_known: Whether it is known to work on elements, where it is none of the products.
    """

    function: str
    activations: FormatSpec
    arguments: list[Any]
    result: object
    parameter: Callable[[torch.Tensor], tuple[str, bool] | None]
    names: tuple[str, ...] = ()
    is_known: bool = True
