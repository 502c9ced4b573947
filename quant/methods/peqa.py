"""PEQA: integers and zero points are frozen, only the scales are trained on the language model.

Kim et al., arXiv 2305.14152: weights start rounded to nearest; AdamW with linear decay. Here the
trained number is the relative change of each group's scale, so that one learning rate fits all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import torch
from torch import nn

from quant.common.errors import RequestError
from quant.common.progress import track
from quant.formats.spec import FormatSpec
from quant.layers.blocks import CalibrationData, arguments_of, as_batches
from quant.layers.parameters import as_parameters
from quant.layers.weights import Weight, weights
from quant.methods.running import free_scales
from quant.methods.settings import TrainingOptions
from quant.tensors.quantize import quantize as round_to_nearest
from quant.tensors.tensor import QuantizedTensor

Text: TypeAlias = dict[str, torch.Tensor]
"""A model's arguments by name, ``input_ids`` among them."""


@dataclass
class _Trained:
    """A layer with frozen codes: ``level * scale * (1 + change)``."""

    tensor: QuantizedTensor
    levels: torch.Tensor
    scales: torch.Tensor
    change: torch.Tensor

    @classmethod
    def of(cls, tensor: QuantizedTensor, dtype: torch.dtype) -> _Trained:
        scales = torch.from_numpy(tensor.group_scales())
        change = torch.zeros_like(scales, requires_grad=True)
        return cls(tensor, torch.from_numpy(tensor.levels()).to(dtype), scales, change)

    def weight(self) -> torch.Tensor:
        """Return the weight ``[out, in]`` with gradients to the change of the scales."""
        scales = (self.scales * (1 + self.change)).to(self.levels.dtype)
        rows, columns = self.levels.shape
        size = min(self.tensor.spec.group_size, columns)
        whole = columns // size * size
        body = self.levels[:, :whole].view(rows, -1, size) * scales[:, : whole // size, None]
        rest = self.levels[:, whole:] * scales[:, -1:]
        return torch.cat([body.reshape(rows, whole), rest], dim=1)

    def done(self) -> QuantizedTensor:
        """Return the codes under the trained scales, as they are stored."""
        raw = (self.scales * (1 + self.change.detach()).clamp_min(0)).numpy()
        scales = self.tensor.spec.scale.store(np.ascontiguousarray(raw))
        return replace(self.tensor, scales=scales.stored, row_scales=scales.rows)


def quantize(
    model: nn.Module,
    layers: Mapping[str, Weight],
    specs: Mapping[str, FormatSpec],
    calibration: CalibrationData | None,
    options: TrainingOptions,
) -> dict[str, QuantizedTensor]:
    """Round every layer, train the scales on next-token prediction, and return the codes.

    Raises:
        RequestError: a format whose scales are no free numbers, or batches without ``input_ids``.
    """
    texts = _texts(calibration)
    trained = {}
    for path, spec in specs.items():
        free_scales("peqa", spec)
        rounded = round_to_nearest(layers[path].matrix(), spec)
        trained[path] = _Trained.of(rounded, torch.float32)
    with torch.enable_grad():
        _train(model, trained, texts, options)
    return {path: layer.done() for path, layer in trained.items()}


def _texts(calibration: CalibrationData | None) -> list[Text]:
    batches = [] if calibration is None else as_batches(calibration)
    texts = [dict(b) for b in batches if isinstance(b, Mapping) and "input_ids" in b]
    if not texts or len(texts) < len(batches):
        raise RequestError("peqa trains on text: calibration must be token ids")
    return texts


def _train(
    model: nn.Module, trained: Mapping[str, _Trained], texts: list[Text], options: TrainingOptions
) -> None:
    steps = options.epochs * len(texts)
    optimizer = torch.optim.AdamW(
        [layer.change for layer in trained.values()], lr=options.learning_rate, weight_decay=0.0
    )
    decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, steps)
    frozen = [p for p in model.parameters() if p.requires_grad]
    for parameter in frozen:
        parameter.requires_grad = False
    try:
        for step in track(range(steps), "training scales", steps):
            loss = _loss(model, trained, texts[step % len(texts)])
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            decay.step()
    finally:
        for parameter in frozen:
            parameter.requires_grad = True


def _loss(model: nn.Module, trained: Mapping[str, _Trained], text: Text) -> torch.Tensor:
    known = weights(model)
    args, kwargs = arguments_of(model, text)
    with torch.autocast("cpu", torch.bfloat16):
        values = as_parameters({known[path]: layer.weight() for path, layer in trained.items()})
        output = torch.func.functional_call(model, values, args, kwargs)
        logits = output.logits[:, :-1].flatten(0, 1).float()
    return nn.functional.cross_entropy(logits, text["input_ids"][:, 1:].flatten())
