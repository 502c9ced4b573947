"""Which data type holds operands of two formats, and which peaks it may use."""

from __future__ import annotations

from quant.formats.elements import FloatType, IntType
from quant.formats.spec import FormatSpec

_HALF = ("fp16", "bf16", "fp32")
WIDER = {
    "int4": ("int4", "int8", *_HALF),
    "int8": ("int8", *_HALF),
    "fp4": ("fp4", "fp6", "fp8", *_HALF),
    "fp6": ("fp6", "fp8", *_HALF),
    "fp8": ("fp8", *_HALF),
    "fp16": _HALF,
    "bf16": ("bf16", "fp16", "fp32"),
    "fp32": ("fp32",),
}
"""Which peaks an operation of a type may use, narrowest first: it is converted upwards."""
PEAKS = (*WIDER, "tf32")
"""Data types that a device may state a peak for; no operand of ours is TF32."""
_FLOATS = ("fp4", "fp6", "fp8")


def operand_kind(weights: FormatSpec, activations: FormatSpec) -> str:
    """Return the data type (a key of ``WIDER``) that holds operands of two formats."""
    kinds = {_kind(weights), _kind(activations)}
    if len(kinds) == 1:
        return kinds.pop()
    if "fp32" in kinds:
        return "fp32"
    if kinds == {"int4", "int8"}:
        return "int8"
    if kinds <= set(_FLOATS):
        return max(kinds, key=_FLOATS.index)
    return "bf16" if "bf16" in kinds and "fp16" not in kinds else "fp16"


def _kind(spec: FormatSpec) -> str:
    """The narrowest type that holds a format's elements; codebooks are looked up at 16 bits."""
    element, bits = spec.format.element, spec.format.element_bits
    if spec.format.is_plain:
        return spec.format.name
    if isinstance(element, IntType):
        return "int4" if bits <= 4 else "int8"
    if isinstance(element, FloatType):
        return "fp4" if bits <= 4 else "fp6" if bits <= 6 else "fp8"
    return "fp16"
