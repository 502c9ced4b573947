"""Moving scale between a layer's inputs and its weights, folded into what produces the inputs.

``y = W x = (W s)(x / s)`` per input channel: the division goes into the norm before, or into the
rows of the linear layer before (AWQ, SmoothQuant). Which norm produces an input is observed on a
batch; linear producers are known by name. Each pair is tried out: the block must give what it gave,
which it does not where the input goes elsewhere too (the residual of BERT's norms).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from quant.formats.elements import F32
from quant.layers.blocks import Block, first
from quant.layers.hooks import watched
from quant.layers.matrices import matrix, set_matrix
from quant.layers.statistics import LayerStatistics

# (producer, consumer) names of linear layers with only work that is linear in each channel between.
LINEAR_PAIRS = (
    ("up_proj", "down_proj"),
    ("v_proj", "o_proj"),
    ("v_proj", "out_proj"),
    ("self.value", "output.dense"),
)


@dataclass(frozen=True)
class Shared:
    """Layers that see the same input, and the module that makes it.

    Attributes:
        paths: The layers.
        producer: A norm with a weight per channel, or a linear layer.
    """

    paths: tuple[str, ...]
    producer: nn.Module


def shared_inputs(block: Block) -> list[Shared]:
    """Return the groups of layers whose input scale can be folded away."""
    inputs, norms = _observe(block)
    groups: dict[int, list[str]] = {}
    for path, tensor in inputs.items():
        groups.setdefault(id(tensor), []).append(path)
    pairs = [Shared(tuple(paths), norms[key]) for key, paths in groups.items() if key in norms]
    pairs += [
        Shared((after,), block.layers[before].module) for before, after in _linear_pairs(block)
    ]
    return [shared for shared in pairs if _folds(block, shared)]


def fold(block: Block, shared: Shared, factors: F32) -> None:
    """Multiply the weights' columns by ``factors [in]`` and divide what makes the input."""
    for path in shared.paths:
        set_matrix(block.layers[path], matrix(block.layers[path]) * factors)
    producer = shared.producer
    if isinstance(producer, nn.Linear):
        set_matrix(producer, matrix(producer) / factors[:, None])
    else:
        divisor = torch.from_numpy(factors)
        offset = _offset(producer)
        assert isinstance(producer.weight, torch.Tensor)
        with torch.no_grad():
            scaled = (producer.weight.float() + offset) / divisor - offset
            producer.weight.copy_(scaled)
    bias = getattr(producer, "bias", None)
    if isinstance(bias, torch.Tensor):
        with torch.no_grad():
            bias.div_(torch.from_numpy(factors).to(bias.dtype))


def rescaled(
    statistics: dict[str, LayerStatistics], shared: Shared, factors: F32
) -> dict[str, LayerStatistics]:
    """Return the statistics as they are after ``fold``."""
    return statistics | {path: statistics[path].scaled(factors) for path in shared.paths}


def centred(factors: F32) -> F32:
    """Return positive factors divided by the root of their largest times their smallest."""
    factors = np.maximum(factors, np.float32(1e-4))
    middle = np.sqrt(np.float64(factors.max()) * np.float64(factors.min()))
    result: F32 = (factors / middle).astype(np.float32)
    return result


def _observe(block: Block) -> tuple[dict[str, torch.Tensor], dict[int, nn.Module]]:
    """The input of every layer, and by identity of its output every norm."""
    inputs: dict[str, torch.Tensor] = {}
    norms: dict[int, nn.Module] = {}
    kept: list[torch.Tensor] = []  # identities stay unique while the tensors live

    modules = {path: m for path, m in block.module.named_modules() if _is_norm(m)}

    def note_output(path: str, output: torch.Tensor) -> None:
        kept.append(output)
        norms[id(output)] = modules[path]

    layers = {path: weight.module for path, weight in block.layers.items() if weight.is_layer}
    with (
        watched(layers, inputs=inputs.__setitem__),
        watched(modules, outputs=note_output),
    ):
        _run_once(block)
    return inputs, norms


def _is_norm(module: nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    leaf = next(module.children(), None) is None
    return leaf and isinstance(weight, torch.Tensor) and weight.dim() == 1


def _linear_pairs(block: Block) -> list[tuple[str, str]]:
    pairs = []
    for before, after in LINEAR_PAIRS:
        for path in block.layers:
            other = path.removesuffix(before) + after
            if not path.endswith("." + before) or other not in block.layers:
                continue
            if block.layers[path].shape[0] == block.layers[other].shape[1]:
                pairs.append((path, other))
    return pairs


def _folds(block: Block, shared: Shared) -> bool:
    """Whether the block gives the same after folding, with factors that differ by channel.

    They are powers of two, so that nothing is rounded; everything is put back as it was.
    """
    changed = [shared.producer, *(block.layers[path].module for path in shared.paths)]
    before = [{k: v.clone() for k, v in module.state_dict().items()} for module in changed]
    width = block.layers[shared.paths[0]].shape[1]
    wanted = _run_once(block)
    try:
        fold(block, shared, np.ldexp(np.float32(1), np.arange(width) * 7 % 5 - 2))
        folded = _run_once(block)
    finally:
        for module, state in zip(changed, before, strict=True):
            module.load_state_dict(state)
    largest = float(wanted.abs().max())
    return bool(torch.allclose(folded, wanted, rtol=1e-3, atol=1e-3 * largest))


def _offset(norm: nn.Module) -> float:
    """1 for norms that multiply by ``1 + weight`` (Gemma), else 0: seen with a weight of zero."""
    assert isinstance(norm.weight, torch.Tensor)
    weight = norm.weight.detach().clone()
    bias = getattr(norm, "bias", None)
    with torch.no_grad():
        norm.weight.zero_()
        probe = torch.linspace(-1, 1, len(weight), dtype=weight.dtype)[None]
        output = first(norm(probe))
        if isinstance(bias, torch.Tensor):
            output = output - bias
        norm.weight.copy_(weight)
    return float(bool(output.abs().max() > 0))


def _run_once(block: Block) -> torch.Tensor:
    with torch.no_grad():
        args, kwargs = block.inputs[0]
        return first(block.module(*args, **kwargs))
