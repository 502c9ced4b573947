"""What methods share: what calibration knows of a layer, and how a method is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from quant.formats.elements import F32
from quant.formats.spec import FormatSpec
from quant.layers.statistics import LayerStatistics
from quant.tensors.tensor import QuantizedTensor

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
