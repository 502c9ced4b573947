"""One class an op: its work (MACs, operations), its bytes by operand, its matrix shape.

An op is written once for every step: its numbers are amounts (``workloads.amounts``) in the
sequences, the new and the cached tokens. Bytes are the least traffic: each operand crosses the
memory interface once, but keys and values that flash attention reads again when the chip cannot
keep them. K and V are written by their projections and read by attention, once per KV head (GQA).
"""

from __future__ import annotations

from roofline.workloads.ops.attention import (
    SOFTMAX_OPERATIONS,
    Attention,
    AttentionScores,
    AttentionValues,
    FlashAttention,
    LinearAttention,
)
from roofline.workloads.ops.base import Gemm, Op, Operands, Product, has_matrix, stored
from roofline.workloads.ops.defaults import BaseOp
from roofline.workloads.ops.elementwise import (
    Collective,
    Elementwise,
    Embedding,
    ShortConvolution,
)
from roofline.workloads.ops.linear import Convolution, Experts, Grouped, Half, Linear, Router
from roofline.workloads.ops.matmul import MatMul

__all__ = [
    "SOFTMAX_OPERATIONS",
    "Attention",
    "AttentionScores",
    "AttentionValues",
    "BaseOp",
    "Collective",
    "Convolution",
    "Elementwise",
    "Embedding",
    "Experts",
    "FlashAttention",
    "Gemm",
    "Grouped",
    "Half",
    "Linear",
    "LinearAttention",
    "MatMul",
    "Op",
    "Operands",
    "Product",
    "Router",
    "ShortConvolution",
    "has_matrix",
    "stored",
]
