"""One block of layers on real tokens in the PE's arithmetic."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

from hwsim.pe import matmul
from hwsim.study.result import ExactLayer
from quant.tensors.tensor import QuantizedTensor

if TYPE_CHECKING:
    pass


def run_exactly(path: str, tensor: QuantizedTensor, x: np.ndarray[Any, Any]) -> ExactLayer:
    """Run one layer in the PE's arithmetic and compare with the exact product of the same codes."""
    half = x.astype(np.float16)
    y, cycles = matmul(tensor, half)
    exact = half.astype(np.float64) @ tensor.dequantize().astype(np.float64).T
    error, size = np.abs(y - exact), float(np.abs(exact).mean())
    return ExactLayer(
        path,
        str(tensor.spec),
        y.size,
        cycles,
        float(error.mean()) / size,
        float(error.max()) / size,
        hashlib.sha256(half.tobytes()).hexdigest(),
    )
