"""MSE clipping: each group's range is shrunk to where its squared error is least.

Weights at the ends are clipped so that the others get finer steps. Without calibration all columns
count alike (GPTQ's ``mse`` option: factors 1 - i/100, at least 0.2, here with squares); with it
each counts by the mean square of its input, the diagonal of the layer's Hessian.
"""

from __future__ import annotations

import numpy as np

from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.layers.statistics import LayerStatistics
from quant.rounding.fit import fit
from quant.tensors.quantize import encode, round_to_nearest
from quant.tensors.tensor import QuantizedTensor

SHRINKS = tuple(1 - i / 100 for i in range(80))


def quantize(weight: F32, spec: FormatSpec, statistics: LayerStatistics | None) -> QuantizedTensor:
    """Round a layer with the best clipping of every group."""
    importance = None
    if statistics is not None:
        importance = np.ascontiguousarray(np.diag(statistics.hessian))
        importance = importance + np.float32(1e-6) * max(float(importance.mean()), 1e-30)
    if not spec.format.layout.is_grid:
        return round_to_nearest(weight, spec, importance=importance)
    return encode(weight, spec, fit(weight, spec, shrinks=SHRINKS, importance=importance))
