"""What methods share: what calibration knows of a layer, and how a method is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from quant.datatypes import F32
from quant.spec import FormatSpec
from quant.tensor import QuantizedTensor

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


LayerFunction = Callable[[F32, FormatSpec, LayerStatistics | None], QuantizedTensor]


@dataclass(frozen=True)
class Method:
    """A way to round weights.

    Attributes:
        name: What users type.
        source: Paper or code.
        calibration: Whether it needs text (or other inputs) to look at.
        scope: What it sees at once: one layer, one block of layers, or the whole model.
        module: Where it is, in ``quant.methods``.
    """

    name: str
    source: str
    calibration: Literal["none", "optional", "required"]
    scope: Literal["layer", "block", "model"]
    module: str
