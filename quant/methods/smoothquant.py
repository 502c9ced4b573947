"""SmoothQuant: part of the activations' range is moved into the weights, for low-bit activations.

Xiao et al., arXiv 2211.10438: ``s_j = max|x_j|^a / max|W_j|^(1-a)`` over all layers that share the
input, at least 1e-5, folded into the norm before. Weights are rounded to nearest.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from quant.formats.spec import FormatSpec
from quant.layers.blocks import Block
from quant.layers.statistics import layer_statistics
from quant.methods.scaling import fold, shared_inputs
from quant.methods.settings import SmoothQuantOptions
from quant.tensors.quantize import quantize as round_to_nearest
from quant.tensors.tensor import QuantizedTensor


def quantize(
    block: Block, specs: Mapping[str, FormatSpec], options: SmoothQuantOptions
) -> dict[str, QuantizedTensor]:
    """Smooth and round the layers of a block; its norms change in place."""
    known = layer_statistics(block, list(specs))
    for shared in shared_inputs(block):
        if not all(path in specs and path in known for path in shared.paths):
            continue
        ranges = [np.abs(block.layers[path].matrix()).max(axis=0) for path in shared.paths]
        weights = np.maximum(np.max(ranges, axis=0), np.float32(1e-5))
        inputs = np.maximum(known[shared.paths[0]].max_abs, np.float32(1e-5))
        factors = inputs**options.strength / weights ** (1 - options.strength)
        fold(block, shared, np.maximum(factors, np.float32(1e-5)).astype(np.float32))
    return {path: round_to_nearest(block.layers[path].matrix(), s) for path, s in specs.items()}
