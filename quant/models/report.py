"""What quantization did to a model: matrix by matrix, and what it left as it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quant.layers.coverage import Kept
from quant.layers.totals import Totals
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class LayerReport:
    """What quantization did to one matrix: its codes, size, and squared error over the weight's.

    Attributes:
        tensor: Its codes.
        relative_error: Squared error over the squared weight.
        poor_groups: Groups whose relative error ``|Wq - W| / |W|`` is 0.5 or more.
        groups: All of them.
    """

    tensor: QuantizedTensor
    relative_error: float
    poor_groups: int = 0
    groups: int = 0

    @property
    def weights(self) -> int:
        """How many weights it has."""
        return self.tensor.shape[0] * self.tensor.shape[1]


@dataclass(frozen=True)
class QuantizationReport(Totals):
    """What ``quantize_model`` did, by path.

    Attributes:
        layers: The quantized matrices.
        kept: Everything else: embeddings, norms, matrices that were left alone, and why.
        notes: Matrices that were not treated as the method treats them, and why.
    """

    layers: dict[str, LayerReport]
    kept: dict[str, Kept] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    @property
    def weights(self) -> int:
        """How many weights are quantized."""
        return sum(layer.weights for layer in self.layers.values())

    @property
    def tensors(self) -> dict[str, QuantizedTensor]:
        """The codes of each matrix."""
        return {path: layer.tensor for path, layer in self.layers.items()}

    @property
    def poor_groups(self) -> int:
        """Groups of all matrices whose relative error ``|Wq - W| / |W|`` is 0.5 or more."""
        return sum(layer.poor_groups for layer in self.layers.values())

    @property
    def groups(self) -> int:
        """Groups of all matrices."""
        return sum(layer.groups for layer in self.layers.values())

    @property
    def code_bits(self) -> int:
        """Bits that they are stored in, with scales and all else that belongs to them."""
        return sum(layer.tensor.storage_bits for layer in self.layers.values())

    def to_frame(self) -> pd.DataFrame:
        """Return one row a matrix."""
        import pandas as pd

        return pd.DataFrame(
            {
                "layer": path,
                "format": str(layer.tensor.spec),
                "weights": layer.weights,
                "effective_bits": layer.tensor.effective_bits,
                "relative_error": layer.relative_error,
                "groups": layer.groups,
                "poor_groups": layer.poor_groups,
                "note": self.notes.get(path, ""),
            }
            for path, layer in self.layers.items()
        )
