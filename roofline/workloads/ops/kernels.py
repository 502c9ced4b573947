"""Classes of kernels: under which name the law of an op's kernel is measured.

Products are told apart by what the matrix units multiply, attention by phase, kernels that only
move their operands by what they do. ``roofline.calibration`` has the laws.
"""

from __future__ import annotations

from quant.common.errors import RequestError
from quant.formats.spec import FormatSpec
from roofline.devices.operands import operand_kind

GEMM, PREFILL, DECODE = "gemm", "attention_prefill", "attention_decode"
STREAMS = ("norm", "rotary", "activation", "residual", "embedding", "softmax")
"""Kernels that only move their operands."""
RINGS = {"all_reduce": 2.0, "all_gather": 1.0, "all_to_all": 1.0}
"""Collective to how often a ring sends each rank's share of the message (Patarasuk and Yuan
2009)."""
HALF, W4, W8 = f"{GEMM}:fp16", f"{GEMM}:w4", f"{GEMM}:w8"
"""Products at 16 bits; of weights up to 4, or of more bits, that are widened for them."""
OF_OPERANDS = {
    "fp8": f"{GEMM}:fp8",
    "fp6": f"{GEMM}:fp8",
    "fp4": f"{GEMM}:nvfp4",
    "int8": f"{GEMM}:fp8",
}
"""Data type of both operands to the class of products; 8-bit integers run as 8-bit floats do."""
PRODUCTS = (HALF, W4, W8, *dict.fromkeys(OF_OPERANDS.values()))
CLASSES = (*PRODUCTS, PREFILL, DECODE, *STREAMS, *RINGS)
"""Every class that is known; a calibration file may have more, for ops of one's own."""


def product_class(stationary: FormatSpec, moving: FormatSpec) -> str:
    """Return the class of a product of two operands; ``stationary`` plays the weights."""
    kind = operand_kind(stationary, moving)
    if kind in OF_OPERANDS:
        return OF_OPERANDS[kind]
    bits = stationary.format.element_bits
    if bits < moving.format.element_bits:
        return W4 if bits <= 4 else W8
    return HALF


def unknown_class(name: str, kind: str, known: str = "") -> RequestError:
    """Return the error for an op that belongs to no known class of kernels.

    Args:
        name: The op's path.
        kind: Its kind.
        known: The kinds of its sort that have one.
    """
    kinds = f"known kinds are {known}; " if known else ""
    return RequestError(
        f"op {name!r} of kind {kind!r} has no class of kernels: {kinds}"
        f"kernel_class must return one of {', '.join(CLASSES)}"
    )
