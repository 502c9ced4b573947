"""Formats that are more than a level times a scale: pairs (OliVe), HiF4, learned codebooks."""

from __future__ import annotations

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.tensors.tensor import QuantizedTensor


def quantize(weight: F32, spec: FormatSpec, importance: F32 | None = None) -> QuantizedTensor:
    """Quantize ``[out, in]`` weights to a format with a layout of its own."""
    if spec.format.layout == "hif4":
        from quant.rounding.layouts import hif4

        return hif4.quantize(weight, spec)
    if spec.format.layout == "codebook":
        from quant.rounding.layouts import codebooks

        return codebooks.quantize(weight, spec, importance)
    from quant.rounding.layouts import pairs

    return pairs.quantize(weight, spec)


def decode(tensor: QuantizedTensor) -> F32:
    """Return the weights that the codes of such a format mean, ``[out, in]`` float32."""
    layout = tensor.spec.format.layout
    if layout == "hif4":
        from quant.rounding.layouts import hif4

        return hif4.decode(tensor)
    if layout == "codebook":
        from quant.rounding.layouts import codebooks

        return codebooks.decode(tensor)
    from quant.rounding.layouts import pairs

    return pairs.decode(tensor)


def need_grid(spec: FormatSpec, what: str) -> None:
    """Raise a RequestError if a format is no grid of levels under group scales."""
    if spec.format.layout != "grid":
        raise RequestError(f"{what} needs a grid of levels: {spec.format.name} has pairs or blocks")
