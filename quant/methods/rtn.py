"""Round to nearest."""

from __future__ import annotations

from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.layers.statistics import LayerStatistics
from quant.tensors.quantize import quantize as round_to_nearest
from quant.tensors.tensor import QuantizedTensor


def quantize(weight: F32, spec: FormatSpec, statistics: LayerStatistics | None) -> QuantizedTensor:
    """Round a layer to nearest; statistics are not looked at."""
    del statistics
    return round_to_nearest(weight, spec)
