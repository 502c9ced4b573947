"""Which measured class of kernels an op belongs to, and which ops cost a launch."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from quant.formats.spec import FormatSpec
from roofline.calibration.measured import DECODE, PREFILL
from roofline.devices.operands import operand_kind
from roofline.workloads.ops import (
    Attention,
    Collective,
    Elementwise,
    Embedding,
    FlashAttention,
    Linear,
    Op,
)

HALF, WEIGHT_ONLY = "gemm:fp16", "gemm:w{}"
OF_OPERANDS = {"fp8": "gemm:fp8", "fp6": "gemm:fp8", "fp4": "gemm:nvfp4", "int8": "gemm:fp8"}
"""Operand type to the class of products; 8-bit integers run as 8-bit floats do."""
OF_ELEMENTS = {
    "Norm": "norm",
    "Rotary": "rotary",
    "Activation": "activation",
    "Residual": "residual",
    "Softmax": "softmax",
    "Convolution": "activation",
    "Scan": "activation",
    "Parameters": "residual",
}
OF_COLLECTIVES = {
    "AllReduce": "all_reduce",
    "AllGather": "all_gather",
    "AllToAll": "all_to_all",
    "SendReceive": "all_to_all",
}
FUSED = ("Residual", "Parameters")
"""Kinds that serving kernels fuse into their neighbours: they pay for bytes, not for a launch, and
for fewer bytes than alone (their law was measured with operands in the cache)."""


def launches(ops: tuple[Op, ...]) -> npt.NDArray[np.bool_]:
    """Return whether an op costs a launch, ``[ops]``: fused ones and ones without work do not."""
    alone = np.array([op.kind not in FUSED for op in ops])
    out: npt.NDArray[np.bool_] = starts_kernel(ops) & alone
    return out


def starts_kernel(ops: tuple[Op, ...]) -> npt.NDArray[np.bool_]:
    """Return whether an op is a kernel of its own, ``[ops]``.

    Products of the same inputs that follow one another (q, k and v; gate and up) run as one.
    """
    starts = [True] * len(ops)
    for i, (before, op) in enumerate(itertools.pairwise(ops), start=1):
        if type(before) is Linear and type(op) is Linear:
            starts[i] = (before.in_features, before.tokens) != (op.in_features, op.tokens)
    return np.array(starts)


def law_key(op: Op, queries: float) -> str:
    """Return what decides the law and the launch of an op."""
    ranks = f" x{op.ranks}" if isinstance(op, Collective) else ""
    return f"{class_of_op(op, queries)}{' product' if isinstance(op, Linear) else ''}{ranks}"


def class_of_op(op: Op, queries: float) -> str:
    """Return the class of kernels that an op is; prefill and decode attend with others."""
    if isinstance(op, FlashAttention):
        return PREFILL if queries > 1 else DECODE
    if isinstance(op, Elementwise):
        return OF_ELEMENTS.get(op.what, "activation")
    if isinstance(op, Embedding):
        return "embedding"
    if isinstance(op, Collective):
        return OF_COLLECTIVES[op.what]
    if isinstance(op, Linear):
        return _product(op.weights, op.activations)
    assert isinstance(op, Attention)
    return HALF


def _product(weights: FormatSpec, activations: FormatSpec) -> str:
    kind = operand_kind(weights, activations)
    if kind in OF_OPERANDS:
        return OF_OPERANDS[kind]
    bits = weights.format.element_bits
    if bits < activations.format.element_bits:
        return WEIGHT_ONLY.format(4 if bits <= 4 else 8)
    return HALF
