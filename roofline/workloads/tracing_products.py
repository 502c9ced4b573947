"""Torch's kernels that multiply: what their operands are, and the op that each is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from roofline.workloads.amounts import ONE
from roofline.workloads.ops import Experts, Linear, MatMul, Op
from roofline.workloads.setting import PLAIN

if TYPE_CHECKING:
    import torch

    from roofline.workloads.tracing_call import Call


class Operands(NamedTuple):
    """A product ``batch`` times ``[m, k] x [k, n]``.

    Attributes:
        left: The operand with ``m``; either may be a parameter.
        right: The operand with ``n``.
        bias: What is added; None: nothing.
    """

    batch: int
    m: int
    n: int
    k: int
    left: torch.Tensor
    right: torch.Tensor
    bias: torch.Tensor | None = None


def _plain(given: Sequence[Any], bias: torch.Tensor | None = None) -> Operands:
    a, b = given[:2]
    batch = math.prod(a.shape[:-2])
    return Operands(batch, a.shape[-2], b.shape[-1], a.shape[-1], a, b, bias)


def _vector(given: Sequence[Any], bias: torch.Tensor | None = None) -> Operands:
    a, x = given[:2]
    return Operands(1, 1, a.shape[0], a.shape[1], x, a, bias)


def _dot(given: Sequence[Any]) -> Operands:
    a, b = given[:2]
    return Operands(1, 1, 1, a.numel(), a, b)


def _rows(call: Call) -> Operands:
    """Weights are ``[n, k]``, or packed: their outputs are the result's."""
    a, b = call.arguments[:2]
    result: Any = call.result
    return Operands(1, a.numel() // a.shape[-1], result.shape[-1], a.shape[-1], a, b)


def _bilinear(call: Call) -> Operands:
    """``x1 W[out] x2``: a row has the products of all its pairs."""
    one, weight, two = call.arguments[:3]
    result: Any = call.result
    rows, pairs = result.numel() // result.shape[-1], one.shape[-1] * two.shape[-1]
    return Operands(1, rows, result.shape[-1], pairs, one, weight)


PRODUCTS: Mapping[str, Callable[[Call], Operands]] = {
    "mm": lambda call: _plain(call.arguments),
    "bmm": lambda call: _plain(call.arguments),
    "addmm": lambda call: _plain(call.arguments[1:], call.arguments[0]),
    "_addmm_activation": lambda call: _plain(call.arguments[1:], call.arguments[0]),
    "baddbmm": lambda call: _plain(call.arguments[1:], call.arguments[0]),
    "addbmm": lambda call: _plain(call.arguments[1:], call.arguments[0]),
    "mv": lambda call: _vector(call.arguments),
    "addmv": lambda call: _vector(call.arguments[1:], call.arguments[0]),
    "dot": lambda call: _dot(call.arguments),
    "vdot": lambda call: _dot(call.arguments),
    "_int_mm": lambda call: _plain(call.arguments),
    "_scaled_mm": lambda call: _plain(call.arguments),
    "_scaled_mm_v2": lambda call: _plain(call.arguments),
    "_weight_int8pack_mm": _rows,
    "_weight_int4pack_mm": _rows,
    "_weight_int4pack_mm_for_cpu": _rows,
    "_trilinear": _bilinear,
}
"""Kernel of one product, or of a batch, to its operands."""
GROUPED = ("_grouped_mm", "_scaled_grouped_mm", "_scaled_grouped_mm_v2")
"""Kernels of products of unlike sizes: rows sorted by expert, and where each expert's end."""


def product_op(call: Call, path: str) -> Op:
    """Return the op of a kernel of ``PRODUCTS``, named by the module that runs it."""
    found = PRODUCTS[call.function](call)
    known, m, n = call.parameter(found.right), found.m, found.n
    name = path or "product"
    if known is None:
        known, m, n = call.parameter(found.left), n, m
    if known is None:
        return MatMul(f"{name}.matmul", call.activations, found.batch, found.m, found.n, found.k)
    bias = bool(found.bias is not None and call.parameter(found.bias))
    rows = ONE * (found.batch * m)
    return Linear(name, call.activations, found.k, n, PLAIN, rows, bias, tied=known[1])


def grouped_op(call: Call, path: str) -> Op:
    """Return the op of a kernel of ``GROUPED``: experts, of which those in use are expected.

    Rows are taken to choose evenly: of E experts ``E (1 - (1 - 1/E)^rows)`` are read.
    """
    a, b = call.arguments[:2]
    name = path or "product"
    if a.dim() == 3 and b.dim() == 3:
        sizes = _plain((a, b))
        return MatMul(f"{name}.matmul", call.activations, *sizes[:4])
    if b.dim() == 2:  # the sum over rows of each group (a is 2 or 3 dimensional)
        outer = a.numel() // a.shape[-1]
        return MatMul(f"{name}.matmul", call.activations, 1, outer, b.shape[-1], a.shape[-1])
    rows, experts, (k, n) = a.shape[0], b.shape[0], b.shape[1:]
    known = call.parameter(b)
    if known is None:
        return MatMul(f"{name}.matmul", call.activations, 1, rows, n, k)
    used = experts * (1 - (1 - 1 / experts) ** rows)
    return Experts(
        known[0],
        call.activations,
        k,
        n,
        PLAIN,
        ONE * rows,
        experts=experts,
        used=ONE * used,
        pool=experts,
        chosen=1,
        batches=float(rows),
    )
