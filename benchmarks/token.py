"""One decode token on the bit-serial PE, every linear layer bit for bit: SmolLM2-135M, Llama-2-7B.

Run alone: ``python -m benchmarks.token``. Only the matmuls are timed (codes are unpacked in them),
with one random token. SmolLM2 has its real weights, all quantized beforehand. Llama-2-7B has one
synthetic weight of each shape, used as often as the model has layers of that shape.
"""

from __future__ import annotations

import resource
from unittest.mock import patch

import numpy as np

import quant
from benchmarks.timing import Timing, measure
from hwsim.pe import matmul
from hwsim.pe.kernels import narrow
from quant.layers.matrices import linear_layers, matrix
from quant.tensors.tensor import QuantizedTensor

FORMAT = "bitmod4"
LLAMA_2_7B = {
    "attention": ((4096, 4096), 32 * 4),
    "gate and up": ((11008, 4096), 32 * 2),
    "down": ((4096, 11008), 32),
    "head": ((32000, 4096), 1),
}
"""Shapes ``(out, in)`` and how many layers have them."""


def quantized(weight: np.typing.NDArray[np.float32]) -> QuantizedTensor:
    """Groups of 128 with 8-bit scales."""
    return quant.quantize(weight, FORMAT, group_size=128, scale="int8")


def run(layers: list[QuantizedTensor]) -> int:
    """One token through all layers, each with inputs of its own; returns the PE cycles."""
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal((1, layer.shape[1])).astype(np.float16) for layer in layers]
    return sum(matmul(layer, x)[1] for layer, x in zip(layers, inputs, strict=True))


def smollm() -> tuple[int, Timing, Timing]:
    """PE cycles and times of the 211 layers, then times in the general kernels."""
    model, _ = quant.load_model("smollm2-135m")
    layers = [quantized(matrix(layer)) for layer in linear_layers(model).values()]
    timing = measure(lambda: run(layers))
    with patch.object(narrow, "fits", return_value=False):
        general = measure(lambda: run(layers), 1)
    return run(layers), timing, general


def llama() -> tuple[int, Timing, Timing]:
    """The same of the 225 layers of Llama-2-7B, a shape at a time."""
    rng, cycles, times = np.random.default_rng(0), 0, np.zeros((2, 2))
    for shape, count in LLAMA_2_7B.values():
        layer = [quantized(rng.standard_normal(shape, np.float32) * np.float32(0.02))]
        cycles += count * run(layer)
        fast = measure(lambda layer=layer: run(layer))  # type: ignore[misc]
        with patch.object(narrow, "fits", return_value=False):
            slow = measure(lambda layer=layer: run(layer), 1)  # type: ignore[misc]
        times += count * np.array([[t.wall_s, t.cpu_s] for t in (fast, slow)])
    return cycles, Timing(*times[0]), Timing(*times[1])


def main() -> None:
    """Print one line a model."""
    print("model          PE cycles  wall s  CPU s  M cycles/CPU s  x general  peak RSS GiB")
    for name, call in (("smollm2-135m", smollm), ("llama-2-7b", llama)):
        cycles, fast, general = call()
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        print(
            f"{name:12} {cycles:11d} {fast.wall_s:7.3f} {fast.cpu_s:6.3f} "
            f"{cycles / fast.cpu_s / 1e6:15.0f} {general.cpu_s / fast.cpu_s:10.1f} {peak:13.1f}"
        )


if __name__ == "__main__":
    main()
