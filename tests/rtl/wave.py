"""A picture of one group's computation, from the trace of a real simulation.

``python -m tests.rtl.wave -o docs/pe_group.svg``
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import quant
from hwsim.pe.operands import weights
from hwsim.tile.packets import jobs
from hwsim.tile.tile import Tile
from hwsim.verilog import compiled
from quant.common.files import write_text

WEIGHTS = (0.5, -1.5, 6, -5, 3, 1, 0, -8)
ACTIVATIONS = (1.5, -0.25, 3, 0.125, -2, 0.5, 7, 1)
PERIOD = 2
CLOCKS = 28
"""Of the picture: from the first issue to the result."""


class Row(NamedTuple):
    """A signal of the picture: title, where it is, and how its bits are read."""

    title: str
    path: str
    kind: str = "unsigned"


PE = "gen_column[0].u_pe_column.gen_row[0].u_pe."
OUTPUT = "gen_column[0].u_pe_column.u_column_output."
ROWS: tuple[Row | None, ...] = (
    Row("issue", "u_step_sequencer.issue_o", "bit"),
    Row("block", "u_step_sequencer.block_o"),
    Row("step", "u_step_sequencer.step_o"),
    None,
    Row("terms man", PE + "term_man_i", "binary"),
    Row("largest exponent", PE + "largest_q"),
    Row("sum of the step", PE + "sum_q", "signed"),
    None,
    Row("accumulate", "sum_valid_q", "bit"),
    Row("accumulator", PE + "wide_q", "signed"),
    Row("its exponent", PE + "exponent_q"),
    None,
    Row("load chain", "load_q", "bit"),
    Row("digit of scale", OUTPUT + "u_dequantizer.digit_i"),
    Row("product", OUTPUT + "product", "signed"),
    Row("rounded", OUTPUT + "value_q", "fp32"),
    Row("sum of groups", OUTPUT + "sum", "fp32"),
    Row("result valid", "result_valid_o", "bit"),
    Row("result", "result_data_o", "fp32"),
)


def trace(folder: Path) -> Path:
    """Simulate a group of eight bitmod4 weights on one PE; return the trace."""
    tile = Tile(rows=1, columns=1)
    program = compiled.build(tile, folder / "build", trace=True, formats=["bitmod4"])
    weight = np.array([WEIGHTS], np.float32)
    qt = quant.quantize(weight, "bitmod4", group_size=len(WEIGHTS), scale="int8")
    operand, rule = weights(qt, tile.arithmetic)
    words = rule.activations.words(np.array([ACTIVATIONS]))
    packets = [packet for job in jobs(operand, words, tile) for packet in job.packets]
    compiled.simulate(program, packets, tile, folder, trace=folder / "trace.vcd")
    return folder / "trace.vcd"


def picture(file: Path) -> dict[str, Any]:
    """Return the trace's clocks as WaveJSON."""
    import pywellen

    signals = {_name(var): var for var in pywellen.Waveform(str(file)).all_vars()}
    issue = _find(signals, "u_step_sequencer.issue_o").signal
    start = next(time for time in range(1, 1000, PERIOD) if issue.value_at(time)) - PERIOD
    lines: list[dict[str, Any]] = [{"name": "clk", "wave": "p" + "." * (CLOCKS - 1)}]
    lines += [{} if row is None else _line(row, _find(signals, row.path), start) for row in ROWS]
    head = {"text": "One group: 8 weights bitmod4, 4 lanes, 2 steps", "tick": 0}
    return {"signal": lines, "head": head, "config": {"hscale": 3}}


def _name(var: Any) -> str:  # noqa: ANN401  pywellen has no types
    return str(var.full_name() if callable(var.full_name) else var.full_name)


def _find(signals: dict[str, Any], path: str) -> Any:  # noqa: ANN401  as above
    return signals["tile_tb.u_tile.u_tile." + path]


def _line(row: Row, var: Any, start: int) -> dict[str, Any]:  # noqa: ANN401  as above
    width = var.bitwidth() if callable(var.bitwidth) else var.bitwidth
    wave, data, before = "", [], None
    for clock in range(CLOCKS):
        text = _text(int(var.signal.value_at(start + clock * PERIOD)), row.kind, int(width or 1))
        if text == before:
            wave += "."
        elif row.kind == "bit":
            wave += text
        else:
            wave += "="
            data.append(text)
        before = text
    return {"name": row.title, "wave": wave, "data": data}


def _text(value: int, kind: str, width: int) -> str:
    if kind == "fp32":
        return f"{np.uint32(value).view(np.float32):.4g}"
    if kind == "binary":
        return f"{value:0{width}b}"
    if kind == "signed" and value >> (width - 1):
        return str(value - (1 << width))
    return str(value)


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the picture."""
    import wavedrom

    parser = argparse.ArgumentParser("tests.rtl.wave", description=__doc__)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/pe_group.svg"))
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        source = picture(trace(Path(folder)))
    write_text(given.out, wavedrom.render(json.dumps(source)).tostring())


if __name__ == "__main__":
    main()
