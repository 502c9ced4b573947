"""The simulator's clocks are the Verilog's: layers on drawn machines, a block of SmolLM2."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import quant
import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.bit_serial import BitSerial
from hwsim.machines.load import load_accelerator
from hwsim.pe.operands import weights
from hwsim.simulation.clocks import Grid, load
from hwsim.simulation.machine_row import machine_row
from hwsim.simulation.op_rows import parts_of
from hwsim.simulation.records import OP, rows
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.tile.packets import jobs
from hwsim.tile.tile import Tile
from hwsim.verilog.compiled import program
from hwsim.verilog.compiled import simulate as verilated
from hwsim.verilog.layer import run
from quant.common.sourced import Sourced
from quant.formats.spec import FormatSpec, parse_spec
from tests.rtl.machines import seed_of_run

FORMATS = (
    "bitmod4:g32:int8", "bitmod3:g64:int8", "int8:g128:int8", "int4-asym:g32:int8",
    "mxfp4:g32:e8m0", "nvfp4:g16:e4m3", "fp3:g96:int8", "int6:g128:int8",
)  # fmt: skip
SIZES = ((8, 8, 4, 2), (3, 5, 8, 8), (16, 4, 4, 1))
"""Rows, columns, lanes and digit bits of the tiles: a program is built for each and a format."""


def machine_of(rows_: int, columns: int, lanes: int, digit_bits: int) -> Accelerator:
    """A machine with one tile whose memory and ports never bind."""
    base = load_accelerator("bitmod-rtl")
    assert isinstance(base.pe, BitSerial)
    pe = replace(base.pe, lanes=lanes, digit_bits=digit_bits)
    wide = [replace(buffer, bytes=1 << 23, port_bits=4096) for buffer in base.buffers]
    return replace(
        base,
        pe=pe,
        tiles=replace(base.tiles, count=1, rows=rows_, columns=columns),
        weight_buffer=wide[0],
        activation_buffer=wide[1],
        dram=replace(
            base.dram, bytes_per_s=Sourced(1e13, "test"), latency_s=Sourced(1e-15, "test")
        ),
    )


def tile_of(machine: Accelerator) -> Tile:
    """The tile of the Verilog that a machine is built of."""
    assert isinstance(machine.pe, BitSerial)
    sizes = machine.tiles.rows, machine.tiles.columns, machine.pe.max_group, machine.pe.digit_bits
    return Tile(*sizes, arithmetic=machine.pe.arithmetic(machine.activations))


def simulated(machine: Accelerator, spec: FormatSpec, shape: tuple[int, int, int]) -> float:
    """Clocks that the cost function gives a layer of outputs, inputs, tokens."""
    timing, op = machine.timing(spec), rows(OP, 1)
    outputs, inputs, tokens = shape
    for key, value in {
        "product": 1, "batch": 1, "m": tokens, "n": outputs, "k": inputs, "shared": 1,
        "law": timing.law, "steps": timing.steps, "size": spec.group_size,
        "group_clocks": timing.group_clocks, "job_clocks": timing.job_clocks,
    }.items():  # fmt: skip
        op[key] = value
    return load(op[0], machine_row(machine), Grid(1, 1, 1), inputs).clocks


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_layers_take_the_clocks_of_the_verilog(
    size: tuple[int, int, int, int], tmp_path: Path
) -> None:
    rng = np.random.default_rng([seed_of_run(), *size])
    machine = machine_of(*size)
    tile, specs = tile_of(machine), [parse_spec(text) for text in FORMATS]
    made = program(tile, [spec.name for spec in specs])  # one build for all of them
    for spec in specs:
        outputs, tokens = (int(rng.integers(1, 3 * side)) for side in size[:2])
        inputs = int(rng.integers(1, 4 * spec.group_size))
        weight = quant.quantize(
            rng.normal(size=(outputs, inputs)), spec.name,
            group_size=spec.group_size, scale=spec.scale.name,
        )  # fmt: skip
        operand, rule = weights(weight, tile.arithmetic)
        words = rule.activations.words(rng.normal(size=(tokens, inputs)).astype(np.float16))
        packets = [packet for job in jobs(operand, words, tile) for packet in job.packets]
        ran = verilated(made, packets, tile, tmp_path)
        assert ran.clocks == simulated(machine, spec, (outputs, inputs, tokens)), str(spec)


@pytest.mark.slow
def test_a_block_of_smollm2_takes_the_simulated_clocks() -> None:
    machine, tokens = machine_of(8, 8, 4, 2), 16
    work = roofline.workload("smollm2-135m", "prefill", 1, tokens, **machine_formats(machine))
    results = {op.name: op for op in simulate(work, machine).ops}
    rng = np.random.default_rng(2)
    block = [op for op in work.ops if ".layers.0." in op.name and op.op == "Linear"]
    assert len(block) == 7
    for op in block:
        (part,) = parts_of(op, machine)
        sizes = part.rows[0]
        shape = int(sizes["n"]), int(sizes["k"])
        weight = quant.quantize(rng.normal(size=shape), "bitmod4", group_size=128, scale="int8")
        ran = run(tile_of(machine), weight, rng.normal(size=(tokens, shape[1])).astype(np.float16))
        assert ran.clocks == results[op.name].compute_cycles, op.name
