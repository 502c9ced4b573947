"""What calibration saw at the inputs of a layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quant.formats.elements import F32

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
