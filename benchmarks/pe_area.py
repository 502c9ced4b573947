"""What each step of the PE's design saves in area, and what it costs in accuracy.

``python -m hwsim.verilog.synth --liberty FILE --tries 5 -o area.json``, then
``python -m benchmarks.pe_area area.json [MORE.json] -o reports/area.md``. Areas are medians of the
tries, and so are paths. The accuracy is that of real inputs of a real layer (SmolLM2-135M),
bitmod4, against the exact products.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import quant
from hwsim.pe import Arithmetic, matmul
from hwsim.verilog.synth.designs import load
from quant.common.files import write_text
from tests.verification.layer import Slice, real_slice

FMA = "fma-fp16"
MOCK_UP_UM2 = 20_928
"""An FMA without subnormals, Inf and NaN, made of the published blocks; SG13G2, same flow."""
HEADER = """\
# Area and timing of the processing element

Made by `python -m hwsim.verilog.synth --liberty FILE --tries 5 -o area.json` for each library and
delay (`--dont-use '*lpflow*'` for sky130), then `python -m benchmarks.pe_area area.json ...
-o reports/area.md`. Cells only, no placement, ideal wires. `pe-N` is a PE of the tile with an
accumulator of N bits: stages 1 to 3 and its link of the column's chain; its operands are
registered at the edge of the array, and the dequantizer is the column's. The first line of each
table gives every PE a bit-serial dequantizer of its own, as the published machine does. Reference
points in the same flow on SG13G2, -D 10000: the published PE's blocks, chained, 34,903 um2 and
9.44 ns (and not correct); an FP16 FMA mock-up without subnormals, Inf and NaN 20,928 um2 and
10.47 ns.

A PE does 4 terms a clock: 2 MAC/clock with weights of two terms (3 and 4 bits), 1 with INT8.
Errors are of SmolLM2-135M `model.layers.10.mlp.down_proj`, bitmod4, inputs of a text, in percent
of mean |y|."""
STEPS = {
    "pe-14": Arithmetic(accumulator_bits=14),
    "pe-14-guard-2": Arithmetic(accumulator_bits=14, guard_bits=2),
    "pe-14-guard-1": Arithmetic(accumulator_bits=14, guard_bits=1),
    "pe-14-guard-0": Arithmetic(accumulator_bits=14, guard_bits=0),
    "pe-11": Arithmetic(accumulator_bits=11),
    "pe-18": Arithmetic(accumulator_bits=18),
    "pe-22": Arithmetic(),
}


Results = dict[str, dict[str, Any]]


def read(file: Path) -> tuple[dict[str, Any], Results]:
    """What ``hwsim.verilog.synth`` wrote: the whole, and its results by design."""
    whole = json.loads(file.read_text(encoding="utf-8"))
    return whole, {entry["design"]: entry for entry in whole["results"]}


def accuracy(part: Slice, rule: Arithmetic) -> tuple[float, float]:
    """Mean absolute error and mean error of the outputs, in percent of mean ``|y|``."""
    qt = quant.quantize(part.weight, "bitmod4", scale="int8")
    exact = part.inputs.astype(np.float64) @ qt.dequantize().astype(np.float64).T
    error = matmul(qt, part.inputs, arithmetic=rule)[0] - exact
    size = np.abs(exact).mean() / 100
    return float(np.abs(error).mean() / size), float(error.mean() / size)


def area(results: Results, design: str) -> float:
    """Cell area, um2."""
    return float(results[design]["area"]["area_um2"])


def path_ns(results: Results, design: str) -> float:
    """Median of the worst arrivals, ns; NaN without OpenSTA."""
    found = results[design]["arrivals_ns"]
    return float(np.median(found)) if found else float("nan")


def mock_up(results: Results, per_mac: float) -> str:
    """Ratio to the mock-up FMA; it is known in one library."""
    known = results[FMA]["library"].startswith("sg13g2")
    return f"{per_mac / MOCK_UP_UM2:.3f}" if known else "-"


def steps_table(results: Results, part: Slice) -> list[str]:
    """The steps, one a line."""
    lines = [
        "| design | area um2 | path ns | um2 per MAC/clock, 4 bits | of 20,928 | of our FMA "
        "| error % | bias % |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    dequantizer = area(results, "dequantizer-15x8")
    designs = [("pe-14 + dequantizer-15x8", area(results, "pe-14") + dequantizer, "pe-14")]
    designs += [(name, area(results, name), name) for name in STEPS]
    for title, um2, name in designs:
        error, bias = accuracy(part, STEPS[name])
        per_mac = um2 / 2  # four lanes, two steps
        lines.append(
            f"| `{title}` | {um2:,.0f} | {path_ns(results, name):.2f} | {per_mac:,.0f} | "
            f"{mock_up(results, per_mac)} | {per_mac / area(results, FMA):.3f} | {error:.3f} | "
            f"{bias:+.3f} |"
        )
    return lines


def amortized_table(results: Results) -> list[str]:
    """What a PE of an 8 x 8 tile takes with its share of row and column."""
    rows = columns = 8
    lines = ["| part | whole um2 | shared by | a PE um2 |", "|---|---:|---|---:|"]
    column, output = area(results, "pe-column-22"), area(results, "column-22")
    pe = area(results, "pe-22")
    decoders = 4 * area(results, "decoder-machine")
    parts = [
        ("`pe-22`", pe, "1", pe),
        ("4 decoders of a row", decoders, f"{columns} PEs", decoders / columns),
        ("`column-22`", output, f"{rows} PEs", output / rows),
        (
            "PE of the activation sums, activation decoders, edge registers",
            column - rows * pe - output,
            f"{rows} PEs",
            (column - rows * pe - output) / rows,
        ),
    ]
    lines += [f"| {a} | {b:,.0f} | {c} | {d:,.0f} |" for a, b, c, d in parts]
    total = column / rows + decoders / columns
    lines.append(f"| **a PE, everything amortized** | | | **{total:,.0f}** |")
    return lines


def section(file: Path, part: Slice) -> list[str]:
    """One library: the steps, the tile, and the areas of all designs."""
    whole, results = read(file)
    method, library = whole["method"], whole["libraries"][0]["name"]
    lines = [
        f"## {library}, abc -D {method['delay_ps']} ps",
        "",
        f"{method['tools']}, medians of {method['tries']} tries; wires: {method['wires']}; "
        f"{method['area']}.",
        "",
        *steps_table(results, part),
        "",
        *amortized_table(results),
        "",
        "| design | area um2 | flip-flops | path ns | what |",
        "|---|---:|---:|---:|---|",
    ]
    notes = {design.name: design.note for design in load()}
    for name, entry in results.items():
        lines.append(
            f"| `{name}` | {area(results, name):,.0f} | {entry['area']['registers']} | "
            f"{path_ns(results, name):.2f} | {notes[name]} |"
        )
    return [*lines, ""]


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the report."""
    parser = argparse.ArgumentParser("benchmarks.pe_area", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+", help="what hwsim.verilog.synth wrote")
    parser.add_argument("-o", "--out", type=Path, required=True)
    given = parser.parse_args(arguments)
    part = real_slice()
    lines = [*HEADER.splitlines(), ""]
    for file in given.results:
        lines += section(file, part)
    write_text(given.out, "\n".join(lines))


if __name__ == "__main__":
    main()
