"""HQQ as a method: integer codes under float zero points, found without data."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quant.common.errors import RequestError
from quant.datatypes import F32
from quant.fit import Fit
from quant.methods.base import LayerStatistics
from quant.methods.hqq import hqq
from quant.quantize import encode
from quant.scales import store_scales
from quant.spec import FormatSpec
from quant.tensor import QuantizedTensor


def quantize(weight: F32, spec: FormatSpec, statistics: LayerStatistics | None) -> QuantizedTensor:
    """Round a layer to asymmetric integers whose zero points HQQ has moved.

    Zero points become 16-bit floats (rule ``float-zero``), which the storage counts.

    Raises:
        RequestError: a format without zero points.
    """
    del statistics
    if not spec.format.is_asymmetric:
        raise RequestError(f"hqq moves zero points: {spec.format.name} has none; use intN-asym")
    spec = replace(spec, rule="float-zero")
    rows, columns = weight.shape
    size = min(spec.group_size, columns)
    scales, zeros = [], []
    for start in range(0, columns, size):
        found = hqq(weight[:, start : start + size], spec.format.element_bits, round_zero=False)
        scales.append(found.scales)
        zeros.append(found.zeros)
    stored = store_scales(np.stack(scales, axis=1), spec.scale)
    half = np.clip(np.stack(zeros, axis=1), -65504, 65504).astype(np.float16)
    selectors = np.zeros((rows, len(scales)), np.uint8)
    return encode(weight, spec, Fit(stored, selectors, half.astype(np.float32)))
