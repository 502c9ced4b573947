"""Rounding with gradients: straight-through in the levels, true in the scales."""

from __future__ import annotations

import numpy as np
import torch

from quant.formats.elements import F32
from quant.formats.grid import grid_of
from quant.formats.spec import FormatSpec
from quant.rounding.fit import Fit, zero_points

LEAST = torch.finfo(torch.float32).tiny
"""What numbers that may be zero are divided by at least."""
MOST_START = 0.982
"""No group starts above this factor: sigmoid(4), where the released code starts all of them."""


class RoundedWeight:
    """A weight ``[out, in]`` rounded to a grid with trainable clipping of every group.

    ``sigmoid(logits)`` shrinks the least and the greatest weight of each group (OmniQuant's learned
    weight clipping). Training starts from a fit, whose candidates it keeps.

    Attributes:
        logits: ``[2, out, groups]``, trainable.
    """

    def __init__(self, weight: F32, spec: FormatSpec, start: Fit) -> None:
        self.spec, self.columns = spec, weight.shape[1]
        self.size = min(spec.group_size, self.columns)
        padding = -self.columns % self.size
        padded = np.pad(weight, ((0, 0), (0, padding)))
        self.grouped = torch.from_numpy(padded.reshape(weight.shape[0], -1, self.size))
        # Padding must not be a group's least or greatest weight.
        repeated = np.pad(weight, ((0, 0), (0, padding)), mode="edge")
        grouped = repeated.reshape(weight.shape[0], -1, self.size)
        self.low = torch.from_numpy(grouped.min(axis=2))
        self.high = torch.from_numpy(grouped.max(axis=2))
        if spec.scale_rule.with_zero:
            self.low, self.high = self.low.clamp_max(0), self.high.clamp_min(0)
        grid = grid_of(spec.format, spec.scale_rule)
        self.levels = torch.from_numpy(grid.levels)
        self.thresholds = torch.from_numpy(grid.thresholds)
        self.selectors = torch.from_numpy(start.selectors.astype(np.int64))
        self.tops = torch.from_numpy(grid.tops)[self.selectors]
        self.is_integer = grid.is_integer
        spread = self.high - self.low
        if not self._asymmetric:
            spread = torch.maximum(self.low.abs(), self.high.abs())
        clipping = torch.from_numpy(start.scales.used) * self.tops / spread.clamp_min(LEAST)
        logits = torch.logit(clipping.clamp(0.02, MOST_START))
        self.logits = logits.expand(2, *logits.shape).clone().requires_grad_()

    def fit(self) -> Fit:
        """Return the parameters of the groups as they are now, stored as the format says."""
        low, high = torch.sigmoid(self.logits.detach())
        least, most = self.low * low, self.high * high
        if self._asymmetric:
            raw = (most - least) / self.tops
        else:
            raw = torch.maximum(self.low.abs(), self.high.abs()) * high / self.tops
        scales = self.spec.scale.store(raw.contiguous().numpy())
        zeros = zero_points(least.numpy(), scales.used, self.spec)
        return Fit(scales, self.selectors.numpy().astype(np.uint8), zeros)

    def __call__(self) -> torch.Tensor:
        """Return the rounded weight, ``[out, in]``, with gradients to the logits."""
        low, high = torch.sigmoid(self.logits)
        values = self._integers(low, high) if self._asymmetric else self._levels(high)
        return values.reshape(values.shape[0], -1)[:, : self.columns]

    @property
    def _asymmetric(self) -> bool:
        return self.spec.format.is_asymmetric

    def _integers(self, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        least, most = self.low * low, self.high * high
        scale = ((most - least) / self.tops).clamp_min(LEAST)[..., None]
        zero = _rounded(-least[..., None] / scale).clamp(0, float(self.tops.max()))
        code = (_rounded(self.grouped / scale) + zero).clamp(0, float(self.tops.max()))
        return (code - zero) * scale

    def _levels(self, high: torch.Tensor) -> torch.Tensor:
        absmax = torch.maximum(self.low.abs(), self.high.abs()) * high
        scale = (absmax / self.tops).clamp_min(LEAST)[..., None]
        ratio = self.grouped / scale
        ends = self.levels[self.selectors]
        inside = torch.maximum(torch.minimum(ratio, ends[..., -1:]), ends[..., :1])
        return (inside + (self._nearest(inside.detach()) - inside).detach()) * scale

    def _nearest(self, ratio: torch.Tensor) -> torch.Tensor:
        if self.is_integer:
            return ratio.round()
        result = torch.zeros_like(ratio)
        for candidate in range(len(self.levels)):
            cells = torch.bucketize(ratio, self.thresholds[candidate])
            values = self.levels[candidate][cells.clamp_max(self.levels.shape[1] - 1)]
            result = torch.where((self.selectors == candidate)[..., None], values, result)
        return result


def _rounded(x: torch.Tensor) -> torch.Tensor:
    """Round half to even, with the gradient of the identity."""
    return x + (x.round() - x).detach()
