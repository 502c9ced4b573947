"""A method: scales a little smaller, whatever the weights are."""

from __future__ import annotations

from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.layers.statistics import LayerStatistics
from quant.methods.base import LayerMethod
from quant.methods.registry import register
from quant.rounding.fit import fit
from quant.tensors.quantize import encode, round_to_nearest
from quant.tensors.tensor import QuantizedTensor


class Tight(LayerMethod):
    """The range of every group times 0.95; what is no grid is rounded to nearest."""

    name = "tight"
    source = "tests/own"

    def quantize(
        self, weight: F32, spec: FormatSpec, statistics: LayerStatistics | None
    ) -> QuantizedTensor:
        """Round a layer."""
        if not spec.format.layout.is_grid:
            return round_to_nearest(weight, spec)
        return encode(weight, spec, fit(weight, spec, shrinks=(0.95,)))


TIGHT = register(Tight())
