"""Half-quadratic quantization (HQQ) of any grid: zero points or scales, moved without data.

The release moves zero points alone. Grids without any take the same two steps with the scale in
the zero point's place: shrink the errors (``quant.methods.hqq_steps``), then the closed form,
``s = <t, l> / <l, l>`` over a group's levels ``l`` and what is left of its weights, ``t``. A scale
is kept where the squared error falls: by mean error, the release's rule for zero points, scales
clip the largest weights (perplexity of SmolLM2-135M in bitmod3: 121 against 60 without).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.formats.rules import FLOAT_ZERO
from quant.formats.spec import FormatSpec
from quant.methods.hqq_steps import inverse_scales, quantize_groups, shrunk
from quant.rounding.fit import Fit, fit
from quant.rounding.lift import lift_of, lifted
from quant.tensors.quantize import encode
from quant.tensors.tensor import QuantizedTensor

BETA, NORM, ITERATIONS = 10.0, 0.7, 20
MOVED = 2.0**-10
"""A relative change of a scale beyond what fp16's eleven bits of mantissa make."""


def quantize(weight: F32, spec: FormatSpec) -> QuantizedTensor:
    """Round a layer to a grid whose zero points, or else scales, HQQ has moved.

    Zero points become 16-bit floats (rule ``float-zero``), which the storage counts.

    Raises:
        RequestError: a format that is not level times scale.
    """
    own = own_spec(spec)
    moves_zeros = own.format.is_asymmetric
    return _with_zero_points(weight, own) if moves_zeros else _with_scales(weight, own)


def own_spec(spec: FormatSpec) -> FormatSpec:
    """Return the specification that a format is rounded to: with floats as zero points.

    Raises:
        RequestError: a format that is not level times scale.
    """
    if not spec.format.layout.is_grid:
        raise RequestError(f"hqq moves scales and zero points of grids: {spec} is none")
    return replace(spec, rule=FLOAT_ZERO) if spec.format.is_asymmetric else spec


def _with_zero_points(weight: F32, spec: FormatSpec) -> QuantizedTensor:
    rows, columns = weight.shape
    size = min(spec.group_size, columns)
    scales, zeros = [], []
    for start in range(0, columns, size):
        group = weight[:, start : start + size]
        bits = spec.format.element_bits
        moved = quantize_groups(group, bits, inverse_scales(group, bits))
        scales.append(moved.scales)
        zeros.append(moved.zeros)
    wanted, found = np.stack(scales, axis=1), np.stack(zeros, axis=1)
    stored = spec.scale.store(wanted)
    ratio = wanted / np.where(stored.used > 0, stored.used, wanted)
    # A scale that its storage moves far takes the zero point along: it is in units of the scale.
    found = np.where(np.abs(ratio - 1) > MOVED, found * ratio, found)
    half = np.clip(found, -65504, 65504).astype(np.float16)
    selectors = np.zeros((rows, len(scales)), np.uint8)
    return encode(weight, spec, Fit(stored, selectors, half.astype(np.float32)))


def _with_scales(weight: F32, spec: FormatSpec) -> QuantizedTensor:
    """Keep of every group the scale with the least squared error, of those the steps come to."""
    groups = fit(weight, spec)
    tensor, best = encode(weight, spec, groups), groups.scales.used
    lift, columns = lift_of(np.abs(weight).max(axis=1, keepdims=True)), weight.shape[1]

    def missed() -> F32:
        """Squared errors of the groups; of tiny rows lifted, so that they are not all 0."""
        return _group_sums(np.square(lifted(weight - tensor.dequantize(), lift, columns)), spec)

    least = missed()
    for _ in range(ITERATIONS):
        levels, rounded = tensor.levels(), tensor.dequantize()
        kept = weight - shrunk(weight - rounded, BETA, NORM)
        power = _group_sums(levels * levels, spec)
        moved = _group_sums(kept * levels, spec) / np.where(power > 0, power, np.float32(1))
        wanted: F32 = np.where(moved > 0, moved, best).astype(np.float32)
        stored = spec.scale.store_under(wanted, groups.scales)
        tensor = encode(weight, spec, replace(groups, scales=stored))
        error = missed()
        better = error < least
        if not better.any():
            break
        least = np.where(better, error, least)
        best = np.where(better, stored.used, best).astype(np.float32)
    return encode(weight, spec, replace(groups, scales=spec.scale.store_under(best, groups.scales)))


def _group_sums(values: F32, spec: FormatSpec) -> F32:
    """Sum over every group of a row, ``[out, groups]``."""
    starts = np.arange(0, values.shape[1], min(spec.group_size, values.shape[1]))
    sums: F32 = np.add.reduceat(values, starts, axis=1)
    return sums
