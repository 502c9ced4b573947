"""What a report of quantized matrices sums up, wherever its numbers come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import MappingProxyType

from quant.layers.coverage import Kept, coverage_of, coverage_said, grouped, kept_said
from quant.tensors.errors import poor_said


class Totals(ABC):
    """Sums over matrices that are quantized, and what is not.

    Attributes:
        kept: What is not quantized, by name.
        notes: Matrices that were not treated as the method treats them, and why.
    """

    kept: Mapping[str, Kept]
    notes: Mapping[str, str] = MappingProxyType({})

    @property
    @abstractmethod
    def weights(self) -> int:
        """How many weights are quantized."""

    @property
    @abstractmethod
    def code_bits(self) -> int:
        """Bits that they are stored in, with scales and all else that belongs to them."""

    @property
    @abstractmethod
    def poor_groups(self) -> int:
        """Groups whose relative error ``|Wq - W| / |W|`` is 0.5 or more."""

    @property
    @abstractmethod
    def groups(self) -> int:
        """Groups of all matrices."""

    @property
    def other_bits(self) -> int:
        """Stored bits of everything that is not quantized."""
        return sum(entry.bits for entry in self.kept.values())

    @property
    def other_weights(self) -> int:
        """How many numbers are not quantized."""
        return sum(entry.count for entry in self.kept.values())

    @property
    def effective_bits(self) -> float:
        """Stored bits per weight over the quantized matrices."""
        return self.code_bits / max(1, self.weights)

    @property
    def whole_model_bits(self) -> float:
        """Stored bits per weight over the whole model, embeddings and head included."""
        return (self.code_bits + self.other_bits) / max(1, self.weights + self.other_weights)

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
