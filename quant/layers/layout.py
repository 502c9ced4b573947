"""How a parameter of a module holds matrices ``[out, in]``: as it is, transposed, stacked."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch


@dataclass(frozen=True)
class Layout:
    """Where the matrices are in a parameter.

    Attributes:
        shape: Shape of the parameter.
        is_stack: Whether its first axis counts matrices (experts).
        is_transposed: Whether a matrix is stored as ``[in, out]``.
    """

    shape: tuple[int, ...]
    is_stack: bool = False
    is_transposed: bool = False

    @property
    def count(self) -> int:
        """How many matrices there are."""
        return self.shape[0] if self.is_stack else 1

    @property
    def part_shape(self) -> tuple[int, ...]:
        """Shape of a matrix as it is stored."""
        return self.shape[1:] if self.is_stack else self.shape

    @property
    def matrix_shape(self) -> tuple[int, int]:
        """``(out, in)``; a kernel of a convolution is ``(out, in*kh*kw)``."""
        rows, *others = self.part_shape
        return (others[0], rows) if self.is_transposed else (rows, prod(others))

    def part(self, parameter: torch.Tensor, index: int) -> torch.Tensor:
        """Return one matrix as it is stored: a view."""
        return parameter[index] if self.is_stack else parameter

    def matrix(self, part: torch.Tensor) -> torch.Tensor:
        """Return a stored part as ``[out, in]``: a view where that is possible."""
        return part.T if self.is_transposed else part.reshape(part.shape[0], -1)

    def stored(self, matrix: torch.Tensor) -> torch.Tensor:
        """Return ``[out, in]`` in the shape of a stored part."""
        return matrix.T if self.is_transposed else matrix.reshape(self.part_shape)
