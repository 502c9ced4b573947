"""OmniQuant's learned weight clipping: clipping factors trained block by block.

Shao et al., arXiv 2308.13137: AdamW on ``||block_q(x_q) - block(x)||^2``, where ``x_q`` are the
inputs that the quantized blocks before give. Learned equivalent transformation is left out, as in
its weight-only runs on Llama. The released code starts every factor at sigmoid(4) = 0.982 and takes
some thousand steps; here they start at the clipping that ``quant.methods.clip`` finds (at most
0.982), so that a few dozen steps suffice.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from quant.formats.spec import FormatSpec
from quant.layers.blocks import Block, first
from quant.layers.parameters import as_parameters
from quant.layers.statistics import layer_statistics
from quant.methods.clip import SHRINKS
from quant.methods.differentiable import RoundedWeight
from quant.methods.running import free_scales
from quant.methods.settings import TrainingOptions
from quant.rounding.fit import fit
from quant.tensors.quantize import encode
from quant.tensors.quantize import quantize as round_to_nearest
from quant.tensors.tensor import QuantizedTensor


def quantize(
    block: Block, specs: Mapping[str, FormatSpec], options: TrainingOptions
) -> dict[str, QuantizedTensor]:
    """Train the clipping of a block's groups and round with it."""
    weights = {path: block.layers[path].matrix() for path in specs}
    known = layer_statistics(block, list(specs))
    rounded = {}
    for path, spec in specs.items():
        free_scales("omniquant", spec)
        if path not in known:  # nothing to learn from, as layer_statistics notes
            continue
        importance = np.diag(known[path].hessian).copy()
        clipped = fit(weights[path], spec, shrinks=SHRINKS, importance=importance)
        rounded[path] = RoundedWeight(weights[path], spec, clipped)
    if rounded:
        with torch.enable_grad():
            _train(block, rounded, options)
    return {
        path: encode(weights[path], spec, rounded[path].fit())
        if path in rounded
        else round_to_nearest(weights[path], spec)
        for path, spec in specs.items()
    }


def _train(block: Block, rounded: Mapping[str, RoundedWeight], options: TrainingOptions) -> None:
    optimizer = torch.optim.AdamW(
        [weight.logits for weight in rounded.values()], lr=options.learning_rate, weight_decay=0.0
    )
    batches = list(zip(block.inputs, block.references, strict=True))
    for _ in range(options.epochs):
        for (args, kwargs), wanted in batches:
            values = {block.layers[path]: weight() for path, weight in rounded.items()}
            weights = as_parameters(values, block.path)
            output = first(torch.func.functional_call(block.module, weights, args, kwargs))
            loss = torch.nn.functional.mse_loss(output.float(), wanted.float())
            scale = 1 / max(float(wanted.float().pow(2).mean()), 1e-12)
            optimizer.zero_grad()
            torch.autograd.backward(loss * scale)
            optimizer.step()
