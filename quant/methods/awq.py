"""AWQ: input channels that carry much are scaled up before rounding, then ranges are clipped.

Lin et al., arXiv 2306.00978 (MIT, llm-awq): 20 exponents of the mean magnitude of the inputs, then
10 clipping factors a group, not for queries and keys. Both searches compare ``tr(E H E^T)``, the
squared error of the layers' outputs over the calibration text; the released code compares the
outputs of whole modules, which costs a forward pass a candidate.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.layers.blocks import Block
from quant.layers.statistics import LayerStatistics, layer_statistics
from quant.methods.scaling import Shared, centred, fold, rescaled, shared_inputs
from quant.rounding.fit import fit
from quant.tensors.quantize import encode
from quant.tensors.quantize import quantize as round_to_nearest
from quant.tensors.tensor import QuantizedTensor

EXPONENTS = tuple(i / 20 for i in range(20))
CLIPS = tuple(1 - i / 20 for i in range(10))
UNCLIPPED = ("q_proj", "k_proj", "query", "key")


def quantize(block: Block, specs: Mapping[str, FormatSpec]) -> dict[str, QuantizedTensor]:
    """Scale, clip and round the layers of a block; its norms change in place."""
    known = layer_statistics(block, list(specs))
    for shared in shared_inputs(block):
        if all(path in specs and path in known for path in shared.paths):
            factors = best_factors(block, shared, specs, known)
            fold(block, shared, factors)
            known = rescaled(known, shared, factors)
    tensors = {}
    for path, spec in specs.items():
        weight = block.layers[path].matrix()
        clipped = spec.format.layout.is_grid and not path.endswith(UNCLIPPED) and path in known
        tensors[path] = (
            clip(weight, spec, known[path]) if clipped else round_to_nearest(weight, spec)
        )
    return tensors


def best_factors(
    block: Block,
    shared: Shared,
    specs: Mapping[str, FormatSpec],
    known: Mapping[str, LayerStatistics],
) -> F32:
    """Return the channel factors ``[in]`` with the least error of the outputs."""
    magnitude = known[shared.paths[0]].mean_abs
    weights = {path: block.layers[path].matrix() for path in shared.paths}
    best, least = np.ones_like(magnitude), np.inf
    for exponent in EXPONENTS:
        factors = centred(np.power(magnitude, np.float32(exponent)))
        error = 0.0
        for path, weight in weights.items():
            rounded = round_to_nearest(weight * factors, specs[path]).dequantize() / factors
            error += known[path].output_error(rounded - weight)
        if error < least:
            best, least = factors, error
    return best


def clip(weight: F32, spec: FormatSpec, known: LayerStatistics) -> QuantizedTensor:
    """Round with the clipping factor of each group that keeps its own outputs nearest."""
    rows, columns = weight.shape
    groups = spec.groups(columns)
    least = np.full((rows, groups), np.inf, np.float32)
    best = np.ones((rows, groups), np.float32)
    for factor in CLIPS:
        factors = np.full((rows, groups), np.float32(factor))
        tensor = encode(weight, spec, fit(weight, spec, factors=(factors, factors)))
        error = _group_errors(tensor.dequantize() - weight, spec.group_size, known.hessian)
        better = error < least
        best[better], least[better] = factor, error[better]
    return encode(weight, spec, fit(weight, spec, factors=(best, best)))


def _group_errors(difference: F32, size: int, hessian: F32) -> F32:
    """``e_g H_gg e_g^T`` of every row and group, ``[out, groups]``."""
    parts = []
    for start in range(0, difference.shape[1], size):
        stop = min(difference.shape[1], start + size)
        part = torch.from_numpy(np.ascontiguousarray(difference[:, start:stop]))
        inner = torch.from_numpy(np.ascontiguousarray(hessian[start:stop, start:stop]))
        parts.append(((part @ inner) * part).sum(1).numpy())
    return np.stack(parts, axis=1)
