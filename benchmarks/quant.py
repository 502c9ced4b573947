"""Quantizer speed beside its peers, released figures and the machine's copy bandwidth.

Run alone: ``python -m benchmarks.quant`` (with ``pip install 'hwsim[bench]'`` for the peers; one
that is missing is named in the table). Everything runs in one process on the same 4096 x 4096
float32 weight, two threads for all; a call is quantize and dequantize unless the row says
otherwise. Writes ``reports/quant_speed.md``.
"""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numba
import numpy as np
import torch

import quant
from benchmarks.peers import PEERS, Call
from benchmarks.timing import Timing, measure
from quant.common.files import write_text
from quant.formats.elements import F32
from quant.formats.spec import parse_spec
from quant.layers.statistics import LayerStatistics
from quant.methods.gptq import quantize as gptq

SIDE, SMALL, THREADS = 4096, 512, 2
REPORT = Path(__file__).parent.parent / "reports/quant_speed.md"


@dataclass(frozen=True)
class Row:
    """A format, and what it is held against.

    Attributes:
        format: Ours.
        peer: Name in ``benchmarks.peers``, or a figure's source.
        figure: Million weights a second of a peer that is not run here.
        reach: How many times the peer we mean to be.
        dequantize: Whether a call dequantizes too.
        per_cpu_s: Whether the figure is per CPU second.
    """

    format: str
    peer: str
    figure: float | None = None
    reach: float | None = None
    dequantize: bool = True
    per_cpu_s: bool = False


ROWS = (
    Row("bitmod3", "BitMoD's code, 2 cores", 3.3, 120),
    Row("bitmod4", "BitMoD's code, 2 cores", 2.9, 90),
    Row("mxfp4", "torchao mxfp4", reach=10),
    Row("nvfp4", "torchao nvfp4", reach=10),
    Row("mxfp8-e4m3", "torchao mxfp8"),
    Row("nf4", "bitsandbytes nf4", reach=6),
    Row("fp4-bnb", "bitsandbytes fp4"),
    Row("int4-asym", "torch half precision", reach=1.5),
    Row("int4", "torch half precision"),
    Row("ant4", "ANT's code", 0.06, 200, dequantize=False, per_cpu_s=True),
)
GPTQ_CPU_S = 32.0
"""The released GPTQ code, one 4096 x 4096 layer, Hessian given."""


def main() -> None:
    """Measure, print, and write the report."""
    numba.set_num_threads(min(THREADS, numba.config.NUMBA_NUM_THREADS))
    torch.set_num_threads(THREADS)
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((SIDE, SIDE)) * 0.02).astype(np.float32)
    copied = measure(weight.copy, 21)
    lines = [
        "# Speed of the quantizer",
        "",
        f"`python -m benchmarks.quant`, alone, {THREADS} threads of {os.cpu_count()} cores; "
        f"{SIDE} x {SIDE} float32, quantize and dequantize (ant4: quantize alone), medians. "
        f"Copying the weight: {_rate(weight, copied.wall_s):.0f} M weights/s.",
        "",
        "| format | M weights/s | per CPU s | share of copy | peer | its M weights/s | times | "
        "reach | times our numpy reference | peak memory of quantize / input |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in ROWS:
        lines.append(_line(row, weight, copied))
        print(lines[-1], flush=True)
    lines += ["", _gptq(weight, rng), "", _threads(weight), ""]
    write_text(REPORT, "\n".join(lines))
    print("\n".join(lines[-4:]))


def _line(row: Row, weight: F32, copied: Timing) -> str:
    ours = measure(_call(row, weight), 21)
    wall, cpu = _rate(weight, ours.wall_s), _rate(weight, ours.cpu_s)
    figure = row.figure or _peer(PEERS[row.peer], weight)
    against = cpu if row.per_cpu_s else wall
    cells = [
        row.format,
        f"{wall:.0f}",
        f"{cpu:.0f}",
        f"{copied.wall_s / ours.wall_s:.2f}",
        row.peer,
        f"{figure:.3g}" if figure else "not installed",
        f"{against / figure:.1f}" if figure else "",
        f"{row.reach or ''}",
        f"{_over_twin(row, weight):.0f}",
        f"{1 + _peak(lambda: quant.quantize(weight, row.format)) / weight.nbytes:.2f}",
    ]
    return f"| {' | '.join(cells)} |"


def _over_twin(row: Row, weight: F32) -> float:
    """How many times the numpy reference's rate ours is, quantize alone, per CPU second."""
    small = np.ascontiguousarray(weight[:SMALL, :SMALL])
    twin = measure(lambda: quant.quantize(small, row.format, backend="numpy"), 1)
    fast = measure(lambda: quant.quantize(weight, row.format), 3)
    return _rate(weight, fast.cpu_s) / _rate(small, twin.cpu_s)


def _call(row: Row, weight: F32) -> Callable[[], object]:
    if row.dequantize:
        return lambda: quant.quantize(weight, row.format).dequantize()
    return lambda: quant.quantize(weight, row.format)


def _peer(peer: Callable[[torch.Tensor], Call], weight: F32) -> float | None:
    try:
        call = peer(torch.from_numpy(weight))
    except ImportError:
        return None
    return _rate(weight, measure(call, 5).wall_s)


def _peak(call: Callable[[], object]) -> float:
    """Most bytes that a call has allocated at a time, beside its input."""
    tracemalloc.start()
    call()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak


def _gptq(weight: F32, rng: np.random.Generator) -> str:
    inputs = rng.standard_normal((2 * SIDE, SIDE)).astype(np.float32)
    magnitudes = np.abs(inputs)
    hessian = (inputs.T @ inputs * np.float32(2 / len(inputs))).astype(np.float32)
    known = LayerStatistics(hessian, magnitudes.mean(0), magnitudes.max(0), len(inputs))
    spec = parse_spec("int4-asym")
    done = measure(lambda: gptq(weight, spec, known), 1)
    return (
        f"GPTQ of one layer, int4-asym, Hessian given: {done.cpu_s:.1f} CPU s; the released code "
        f"{GPTQ_CPU_S:.0f} ({GPTQ_CPU_S / done.cpu_s:.1f} times)."
    )


def _threads(weight: F32) -> str:
    """One thread and two: the speed-up, and that the codes are the same."""
    found = {}
    for threads in (1, THREADS):
        numba.set_num_threads(threads)
        found[threads] = measure(lambda: quant.quantize(weight, "bitmod4"), 3).wall_s
    return f"bitmod4, quantize alone, two threads over one: {found[1] / found[THREADS]:.2f} times."


def _rate(weight: F32, seconds: float) -> float:
    return weight.size / seconds / 1e6


if __name__ == "__main__":
    main()
