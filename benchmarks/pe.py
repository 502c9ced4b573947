"""The PE's kernels beside its Verilog in compiled Verilator, on the same stimulus in one run.

Run alone: ``python -m benchmarks.pe``. A PE cycle is one issue slot of one PE: four terms. The RTL
is the 8 x 8 tile (``-O3``, no trace, assertions or coverage); its results are compared bit for
bit. The whole ``matmul`` is timed, decoding of codes included. The limit is what the core could do
if every PE cycle took nothing but its 4 shifts in 16-bit vectors of 512 bits, one a clock.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median

import numba
import numpy as np

import quant
from benchmarks.timing import measure
from hwsim.pe import matmul
from hwsim.pe.operands import weights
from hwsim.tile.packets import jobs
from hwsim.tile.tile import Tile
from hwsim.verilog import compiled
from quant.tensors.tensor import QuantizedTensor
from tests.verification.layer import expected

OUTPUTS, COLUMNS, TOKENS = 256, 2048, 64
LARGE, LARGE_TOKENS = 2048, 64
FORMATS = ("bitmod3", "bitmod4", "int4", "int4-asym", "int8", "mxfp4")
REPEATS = 3


def main() -> None:
    """Print two tables: beside the RTL, and large matrices on one and on all threads."""
    rng = np.random.default_rng(0)
    small = (rng.standard_normal((OUTPUTS, COLUMNS)) * 0.02).astype(np.float32)
    large = (rng.standard_normal((LARGE, LARGE)) * 0.02).astype(np.float32)
    x = rng.standard_normal((LARGE_TOKENS, LARGE)).astype(np.float16)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        program = compiled.program(Tile(), FORMATS)
        print(f"Same stimulus: {OUTPUTS} outputs x {COLUMNS} inputs x {TOKENS} tokens, 1 thread")
        print("format      PE cycles  kernel M/CPU s  Verilator M/CPU s  ratio  results differ")
        numba.set_num_threads(1)
        for format_ in FORMATS:
            print(beside_rtl(quantized(small, format_), x[:TOKENS, :COLUMNS], program, folder))
    print(f"\nLarge: {LARGE} x {LARGE} weights, {LARGE_TOKENS} tokens")
    print("format      PE cycles  1 thread M/CPU s  M/s  all threads M/CPU s  M/s  scaling")
    for format_ in (*FORMATS, "fp3"):
        print(threads(quantized(large, format_), x))


def quantized(weight: np.ndarray, name: str) -> QuantizedTensor:
    """A weight with a format's own scales, or 8-bit ones."""
    scale = quant.parse_spec(name, default_scale="int8").scale.name
    return quant.quantize(weight, name, scale=scale)


def beside_rtl(qt: QuantizedTensor, x: np.ndarray, program: Path, folder: Path) -> str:
    """One line: rates of kernel and RTL in million PE cycles a CPU second."""
    tile = Tile()
    operand, rule = weights(qt, tile.arithmetic)
    found = list(jobs(operand, rule.activations.words(x), tile))
    packets = [packet for job in found for packet in job.packets]
    y, cycles = matmul(qt, x)
    kernel = measure(lambda: [matmul(qt, x) for _ in range(10)]).cpu_s / 10
    runs = [compiled.simulate(program, packets, tile, folder, 2) for _ in range(REPEATS)]
    idle = [compiled.simulate(program, packets, tile, folder, 1) for _ in range(REPEATS)]
    # The second pass costs no start and no files.
    verilator = median(run.cpu_s for run in runs) - median(run.cpu_s for run in idle)
    differ = int((runs[0].words != expected(found, y, tile)).sum())
    rates = cycles / kernel / 1e6, cycles / verilator / 1e6
    return (
        f"{qt.spec.format.name:10} {cycles:10d} {rates[0]:15.0f} {rates[1]:18.2f} "
        f"{rates[0] / rates[1]:6.0f} {differ:15d}"
    )


def threads(qt: QuantizedTensor, x: np.ndarray) -> str:
    """One line: rates on one and on all threads."""
    cycles, parts = matmul(qt, x)[1], []
    for count in (1, numba.config.NUMBA_NUM_THREADS):
        numba.set_num_threads(count)
        parts.append(measure(lambda: matmul(qt, x)))
    one, every = parts
    return (
        f"{qt.spec.format.name:10} {cycles:10d} {cycles / one.cpu_s / 1e6:17.0f} "
        f"{cycles / one.wall_s / 1e6:4.0f} {cycles / every.cpu_s / 1e6:20.0f} "
        f"{cycles / every.wall_s / 1e6:4.0f} {one.wall_s / every.wall_s:8.2f}"
    )


if __name__ == "__main__":
    main()
