# python examples/codes_to_report.py
"""One weight's way: a file, codes, the processing element's arithmetic, cycles, a bound."""

import tempfile
from pathlib import Path

import numpy as np

import hwsim
import quant
import roofline

FORMAT = "bitmod3:g128:int8"
rng = np.random.default_rng(0)

# A weight becomes codes. Everything below comes from these codes.
weight = rng.standard_normal((1536, 576)).astype(np.float32)
qt = quant.quantize(weight, FORMAT)
error = np.square(qt.dequantize() - weight).sum() / np.square(weight).sum()
print(f"{qt.spec}: {qt.effective_bits:.3f} bits a weight, squared error {error:.4f}")

# They are what a checkpoint keeps.
with tempfile.TemporaryDirectory() as folder:
    quant.save_quantized(Path(folder) / "out", {"model.layers.0.mlp.up_proj": qt})
    loaded = quant.load_quantized(Path(folder) / "out")["model.layers.0.mlp.up_proj"]
assert np.array_equal(loaded.codes, qt.codes)

# The processing element multiplies codes, bit for bit as its Verilog does.
activations = rng.standard_normal((4, 576)).astype(np.float16)
y, cycles = hwsim.pe.matmul(qt, activations)
exact = activations.astype(np.float64) @ qt.dequantize().astype(np.float64).T
print(f"PE: {cycles} cycles, largest difference {np.abs(y - exact).max():.3g}")

# The whole model in that format: the least time on a GPU, and the time on the bit-serial machine.
formats = {"weights": FORMAT, "kv": "int8:g128:int8", "head": "int8:g128:int8"}
work = roofline.workload("smollm2-135m", phase="decode", context=256, **formats)
bound, result = roofline.analyze(work, "h100-sxm"), hwsim.simulate(work, "bitmod")
print(f"h100-sxm: at least {bound.time_s * 1e6:.1f} us, bound by {bound.bound_share()}")
print(f"bitmod: {result.time_s * 1e6:.1f} us, {result.energy_j * 1e6:.1f} uJ")
