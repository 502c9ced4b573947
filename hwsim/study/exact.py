"""One block of layers on real tokens in the PE's arithmetic."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim.machines.accelerator import Accelerator
from hwsim.pe import matmul
from hwsim.pe.activations import ActivationFormat
from hwsim.pe.arithmetic import Arithmetic
from hwsim.study.result import ExactLayer
from quant.tensors.tensor import QuantizedTensor

BLOCK = re.compile(r"^(.*?\.\d+)\.")


def middle_block(layers: Sequence[str]) -> list[str]:
    """Return the layers of the middle one of a model's numbered blocks, by module path."""
    blocks: dict[str, list[str]] = {}
    for path in layers:
        if match := BLOCK.match(path):
            blocks.setdefault(match[1], []).append(path)
    return list(blocks.values())[len(blocks) // 2] if blocks else []


def exact_arithmetic(machine: Accelerator) -> Arithmetic | None:
    """Return the arithmetic of a machine's PEs on floating-point activations.

    None: they have no bit-exact model, or take integers, which a model's activations are not.
    """
    arithmetic = machine.pe.arithmetic(machine.activations)
    return None if arithmetic is None or arithmetic.activations.element is None else arithmetic


def run_exactly(
    path: str, tensor: QuantizedTensor, x: NDArray[Any], arithmetic: Arithmetic
) -> ExactLayer:
    """Run one layer in the PE's arithmetic and compare with the exact product of the same codes.

    Args:
        path: Its module path.
        tensor: Its codes.
        x: ``[tokens, in]``; rounded to the PE's activation format first.
        arithmetic: The PE's, on floating-point activations.
    """
    words = arithmetic.activations.words(x)
    values = _values(words, arithmetic.activations)
    y, cycles = matmul(tensor, values, arithmetic=arithmetic)
    exact = values @ tensor.dequantize().astype(np.float64).T
    error, size = np.abs(y - exact), float(np.abs(exact).mean())
    return ExactLayer(
        path,
        str(tensor.spec),
        y.size,
        cycles,
        float(error.mean()) / size,
        float(error.max()) / size,
        hashlib.sha256(words.tobytes()).hexdigest(),
    )


def _values(words: NDArray[Any], format_: ActivationFormat) -> NDArray[np.float64]:
    """The values of words, exactly; NaN where they are not finite."""
    sign, exponent, mantissa, finite = format_.fields(words)
    magnitude = np.ldexp(mantissa.astype(np.float64), exponent - format_.point)
    return np.where(finite, np.where(sign == 1, -magnitude, magnitude), np.nan)
