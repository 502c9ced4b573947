"""Quantizer speed beside BitMoD's released code and the machine's copy bandwidth.

Run alone: ``python -m benchmarks.quant``. The released code's figures (million weights per CPU
second, torch half precision, 4096 x 4096, group 128) were measured on a 2-core machine.
"""

from __future__ import annotations

import numpy as np

import quant
from benchmarks.timing import measure

OFFICIAL = {"bitmod3": 1.9, "bitmod4": 1.5}
SIDE, REFERENCE_SIDE = 4096, 512


def main() -> None:
    """Print one line a format."""
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((SIDE, SIDE)) * 0.02).astype(np.float32)
    small = weight[:REFERENCE_SIDE, :REFERENCE_SIDE]
    copied = measure(weight.copy)
    print(f"copy: {weight.size / copied.wall_s / 1e6:.0f} M weights/s")
    print("format      wall s  M/s  M/CPU s  x official  x numpy twin  share of copy")
    for name in ("bitmod3", "bitmod4", "fp4", "int4", "int4-asym"):
        fast = measure(lambda name=name: quant.quantize(weight, name))  # type: ignore[misc]
        slow = measure(lambda name=name: quant.quantize(small, name, backend="numpy"), 3)  # type: ignore[misc]
        rate = weight.size / fast.cpu_s / 1e6
        official = f"{rate / OFFICIAL[name]:.0f}" if name in OFFICIAL else "-"
        twin = rate / (small.size / slow.cpu_s / 1e6)
        print(
            f"{name:10} {fast.wall_s:7.3f} {weight.size / fast.wall_s / 1e6:5.0f} {rate:8.1f} "
            f"{official:>10} {twin:13.0f} {copied.wall_s / fast.wall_s:14.2f}"
        )


if __name__ == "__main__":
    main()
