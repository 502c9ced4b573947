"""What the floors of the accumulator take from results, against the length of groups and rows.

``python -m tests.verification.bias -o docs/pe_bias.svg`` draws it, in seconds.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from hwsim.pe import Arithmetic, matmul
from quant import quantize
from quant.common.output import save_figure
from quant.common.progress import track

FORMATS = ("int4", "int8", "bitmod3", "bitmod4")
BITS = (14, 18, 22)
LENGTHS = tuple(2**k for k in range(5, 15))
GROUPS = (1, 12)
"""Of a row: one, and what SmolLM2's widest layers have (1,536 inputs)."""
WORK = 1 << 25
"""Products of a measurement, at least."""


def side(length: int, groups: int) -> int:
    """Return how many rows and how many tokens are measured."""
    return max(32, int((WORK / (length * groups)) ** 0.5))


def bias(name: str, bits: int, seed: int = 0, length: int = 128, groups: int = 1) -> float:
    """Mean error over mean magnitude in percent, normal weights and inputs.

    Args:
        name: The format.
        bits: Of the accumulator.
        seed: Of the data.
        length: Weights of a group.
        groups: Of a row.
    """
    rng, shape = np.random.default_rng(seed), (side(length, groups), length * groups)
    values = rng.standard_normal(shape).astype(np.float32)
    weight = quantize(values, name, group_size=length, scale="int8")
    x = rng.standard_normal(shape).astype(np.float16)
    exact = x.astype(np.float64) @ weight.dequantize().astype(np.float64).T
    y, _ = matmul(weight, x, arithmetic=Arithmetic(accumulator_bits=bits))
    return float(100 * (y - exact).mean() / abs(exact).mean())


def said(groups: int) -> str:
    """Return the biases of rows of so many groups of 128, in words."""
    return "; ".join(
        f"{bits} bits: "
        + ", ".join(f"{name} {bias(name, bits, groups=groups):+.3f} %" for name in FORMATS)
        for bits in (14, 22)
    )


def main() -> None:
    """Measure every length and draw them."""
    from matplotlib.figure import Figure

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, required=True, help="figure, such as bias.svg")
    out: Path = parser.parse_args().out
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    styles = dict(zip(BITS, ("-", "--", ":"), strict=True))
    lines = [(name, bits) for name in FORMATS[1:] for bits in BITS]
    for name, bits in track(lines, "biases", len(lines)):
        values = [-bias(name, bits, length=length) for length in LENGTHS]
        color = f"C{FORMATS.index(name)}"
        axes.plot(LENGTHS, values, styles[bits], color=color, label=f"{name}, {bits} bits")
    axes.set(xscale="log", yscale="log", xlabel="weights of a group")
    axes.set_ylabel("mean error, below the exact result, % of mean |y|")
    axes.legend(fontsize=7)
    save_figure(figure, out, out.suffix[1:])
    print(f"rows of {GROUPS[1]} groups of 128: {said(GROUPS[1])}")


if __name__ == "__main__":
    main()
