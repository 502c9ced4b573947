"""PE kernel speed: PE cycles per CPU second, beside the plain-integer reference.

Run alone: ``python -m benchmarks.pe``. The whole ``matmul`` is timed, decoding of codes included.
"""

from __future__ import annotations

import numpy as np

import quant
from benchmarks.timing import measure
from hwsim.pe import matmul

ROWS, COLUMNS, TOKENS = 2048, 2048, 64


def main() -> None:
    """Print one line a format."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((ROWS, COLUMNS)) * 0.02).astype(np.float32)
    x = rng.standard_normal((TOKENS, COLUMNS)).astype(np.float16)
    print("format      PE cycles  wall s  M cycles/CPU s  M cycles/s  x reference")
    for name in ("bitmod3", "bitmod4", "int4", "int4-asym", "int8", "fp3"):
        qt = quant.quantize(weight, name, scale="int8")
        few = quant.quantize(weight[:4, :256], name, scale="int8")
        cycles = matmul(qt, x)[1]
        fast = measure(lambda qt=qt: matmul(qt, x))  # type: ignore[misc]
        slow = measure(lambda few=few: matmul(few, x[:2, :256], backend="reference"), 1)  # type: ignore[misc]
        plain = matmul(few, x[:2, :256])[1] / slow.cpu_s
        rate = cycles / fast.cpu_s
        print(
            f"{name:10} {cycles:10d} {fast.wall_s:7.3f} {rate / 1e6:15.0f} "
            f"{cycles / fast.wall_s / 1e6:11.0f} {rate / plain:12.0f}"
        )


if __name__ == "__main__":
    main()
