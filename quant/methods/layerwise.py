"""Round to nearest."""

from __future__ import annotations

from quant.datatypes import F32
from quant.methods.base import LayerStatistics
from quant.quantize import quantize as round_to_nearest
from quant.spec import FormatSpec
from quant.tensor import QuantizedTensor


def quantize(weight: F32, spec: FormatSpec, statistics: LayerStatistics | None) -> QuantizedTensor:
    """Round a layer to nearest; statistics are not looked at."""
    del statistics
    return round_to_nearest(weight, spec)
