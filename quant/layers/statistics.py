"""What calibration saw at the inputs of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from quant.common.errors import RequestError
from quant.formats.elements import F32
from quant.layers.blocks import Block
from quant.layers.inputs import watched_inputs
from quant.layers.notes import note

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class LayerStatistics:
    """What calibration knows of the inputs ``x`` of one layer.

    Attributes:
        hessian: ``2 E[x x^T]``, ``[in, in]`` float32 (GPTQ's Hessian of the squared error).
        mean_abs: ``E|x|``, ``[in]``.
        max_abs: ``max|x|``, ``[in]``.
        count: How many inputs were seen.
    """

    hessian: F32
    mean_abs: F32
    max_abs: F32
    count: int

    def output_error(self, difference: F32) -> float:
        """Return ``tr(E H E^T)``: the squared error of the outputs, twice its mean per input."""
        return float(np.vdot(difference @ self.hessian, difference))

    def scaled(self, factors: F32) -> LayerStatistics:
        """Return the statistics of ``x / factors``, ``factors [in]``."""
        inverse: NDArray[np.float32] = (1 / factors).astype(np.float32)
        hessian = self.hessian * inverse[:, None] * inverse
        return LayerStatistics(hessian, self.mean_abs * inverse, self.max_abs * inverse, self.count)


def layer_statistics(block: Block, paths: Sequence[str]) -> dict[str, LayerStatistics]:
    """Run a block over its inputs and return what its matrices are multiplied with.

    One that no input reached (an expert that no token was sent to, a matrix that is multiplied
    with as a copy) is left out, and noted; so is one with fewer inputs than columns, which is not
    left out.

    Raises:
        RequestError: naming a matrix whose inputs hold NaN or Inf.
    """
    sums = {path: _Sums() for path in paths}
    chosen = {path: block.layers[path] for path in paths}
    with watched_inputs(block.module, chosen, lambda path, x: sums[path].add(x)):
        block.run()
    known = {path: total.statistics(path) for path, total in sums.items() if total.count}
    for path, weight in chosen.items():
        if path not in known:
            note(path, "calibration never reached it: rounded to nearest")
        elif known[path].count < weight.shape[1]:
            note(path, f"{known[path].count} calibration inputs for {weight.shape[1]} columns")
    return known


class _Sums:
    """Running sums over the inputs of a layer."""

    def __init__(self) -> None:
        self.hessian: torch.Tensor | None = None
        self.total = self.largest = torch.zeros(())
        self.count = 0

    def add(self, x: torch.Tensor) -> None:
        product = x.T @ x
        self.hessian = product if self.hessian is None else self.hessian.add_(product)
        self.total = self.total + x.abs().sum(0)
        self.largest = torch.maximum(self.largest, x.abs().amax(0))
        self.count += x.shape[0]

    def statistics(self, path: str) -> LayerStatistics:
        assert self.hessian is not None
        hessian = (self.hessian * (2 / self.count)).numpy()
        if not np.isfinite(hessian).all():
            raise RequestError(f"layer {path}: its calibration inputs hold NaN or Inf")
        mean = (self.total / self.count).numpy()
        return LayerStatistics(hessian, mean, self.largest.numpy(), self.count)
