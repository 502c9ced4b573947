"""What quantization did to a model: matrix by matrix, and what it left as it was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quant.layers.coverage import Kept, coverage_of, coverage_said, grouped, kept_said
from quant.tensors.errors import poor_said
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
class QuantizationReport:
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
    def other_bits(self) -> int:
        """Stored bits of everything that is not quantized."""
        return sum(entry.bits for entry in self.kept.values())

    @property
    def other_weights(self) -> int:
        """How many numbers are not quantized."""
        return sum(entry.count for entry in self.kept.values())

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
    def coverage(self) -> float:
        """Quantized weights over all numbers but those of embeddings and heads; 1 if none."""
        return coverage_of(self.weights, self.kept)

    @property
    def kept_said(self) -> str:
        """In a line: how many numbers stay as they are, by what they are."""
        return kept_said(self.kept)

    @property
    def warnings(self) -> list[str]:
        """What a user should know, a line each: coverage, poor groups, notes."""
        lines = [coverage_said(self.weights, self.kept)]
        lines += [poor_said(self.poor_groups, self.groups), *grouped(self.notes)]
        return [line for line in lines if line]

    @property
    def warning(self) -> str:
        """The warnings, one after the other; empty where there is none."""
        return "; ".join(self.warnings)

    @property
    def effective_bits(self) -> float:
        """Stored bits per weight over the quantized matrices."""
        bits = sum(layer.tensor.storage_bits for layer in self.layers.values())
        return bits / max(1, self.weights)

    @property
    def whole_model_bits(self) -> float:
        """Stored bits per weight over the whole model, embeddings and head included."""
        bits = sum(layer.tensor.storage_bits for layer in self.layers.values())
        return (bits + self.other_bits) / max(1, self.weights + self.other_weights)

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
