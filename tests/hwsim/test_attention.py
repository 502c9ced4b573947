"""Attention on a machine: masks, windows, scores that stay on the chip."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

import roofline
from hwsim.machines.load import load_accelerator
from hwsim.simulation.clocks import Grid, load
from hwsim.simulation.machine_row import machine_row
from hwsim.simulation.op_rows import parts_of
from hwsim.simulation.records import OP, Mask, rows
from hwsim.simulation.simulate import machine_formats, simulate
from quant.formats.spec import parse_spec
from roofline.workloads.amounts import ONE
from roofline.workloads.ops import (
    FlashAttention,
)
from roofline.workloads.ops.base import stored


@pytest.mark.parametrize(("context", "stays"), [(64, True), (40_000, False)])
def test_scores_stay_on_the_chip_where_a_block_of_rows_fits(context: int, stays: bool) -> None:
    machine = load_accelerator("bitmod")
    formats = machine_formats(machine)
    found = simulate(roofline.workload("smollm2-135m", "decode", 1, context, **formats), machine)
    apart = {**formats, "flash": False}
    plain = simulate(roofline.workload("smollm2-135m", "decode", 1, context, **apart), machine)
    attention = [
        op for op in found.ops if "layers.0.self_attn." in op.name and "_proj" not in op.name
    ]
    kinds = {op.op for op in attention}
    assert {"AttentionScores", "Softmax", "AttentionValues"} <= kinds
    assert {op.on_chip for op in attention if op.op != "Rotary"} == {stays}
    assert (found.dram_bytes < plain.dram_bytes) == stays
    assert found.compute_cycles == plain.compute_cycles
    never = replace(machine, fuses_attention=False)
    assert (
        simulate(roofline.workload("smollm2-135m", "decode", 1, context, **formats), never).cycles
        == plain.cycles
    )


def visible_blocks(tokens: int, past: int, rows: int, columns: int, window: int) -> int:
    """Blocks of scores with a pair that a mask leaves, counted one by one."""
    found = 0
    for block in range(0, tokens, columns):
        keys = {
            key
            for token in range(block, min(block + columns, tokens))
            for key in range(max(0, past + token + 1 - window) if window else 0, past + token + 1)
        }
        found += ceil(len(keys) / rows)
    return found


@pytest.mark.parametrize("window", [0, 5, 40])
@pytest.mark.parametrize(("tokens", "past"), [(64, 0), (33, 17), (7, 100)])
def test_masked_blocks_are_passed_over(tokens: int, past: int, window: int) -> None:
    # One head, one tile, elements that take a clock a block: clocks are blocks.
    machine = load_accelerator("fp16")
    tiles = replace(machine.tiles, count=1)
    op = rows(OP, 1)
    size = 32
    for key, value in {
        "product": 1, "batch": 1, "m": tokens, "n": past + tokens, "k": size, "shared": 1,
        "past": past, "window": window, "mask": 1, "steps": 1, "size": 16,
    }.items():  # fmt: skip
        op[key] = value
    row = machine_row(replace(machine, tiles=tiles))
    found = load(op[0], row, Grid(1, 1, 1), size)
    assert found.clocks == visible_blocks(tokens, past, 8, 8, window) * size
    whole = load(
        op[0], machine_row(replace(machine, tiles=tiles, skips_masked=False)), Grid(1, 1, 1), size
    )
    assert whole.clocks == ceil(tokens / 8) * ceil((past + tokens) / 8) * size


@pytest.mark.parametrize("window", [0, 9])
@pytest.mark.parametrize("mask", [1, 2])
def test_rounds_of_masked_blocks_take_their_longest(mask: int, window: int) -> None:
    rng = np.random.default_rng(mask)
    base = machine_row(load_accelerator("fp16"))
    for _ in range(60):
        machine, op = base.copy(), rows(OP, 1)
        machine["rows"], machine["columns"] = (int(rng.integers(1, 7)) for _ in range(2))
        tokens, past, shared = (int(rng.integers(1, high)) for high in (30, 20, 4))
        sizes = {"m": tokens * shared, "n": past + tokens, "k": past + tokens}
        sizes |= {"n": 12} if mask == 2 else {"k": 12}
        values = {"product": 1, "batch": 3, "past": past, "window": window, "mask": mask}
        for key, value in (values | sizes | {"shared": shared, "steps": 1, "size": 4}).items():
            op[key] = value
        grid = Grid(*(int(rng.integers(1, 4)) for _ in range(3)))
        found = load(op[0], machine, grid, int(op["k"][0]))
        clocks, read = 0.0, 0.0
        blocks = list(range(0, tokens * shared, int(machine["columns"])))
        for first in range(0, len(blocks), grid.tokens):
            seen: list[set[int]] = []
            for block in blocks[first : first + grid.tokens]:
                keys: set[int] = set()
                for row in range(block, min(block + int(machine["columns"]), tokens * shared)):
                    last = past + row // shared + 1
                    keys |= set(range(max(0, last - window) if window else 0, last))
                seen.append(keys)
            jobs = ceil(3 / grid.products)
            longest = max(
                ceil(ceil((len(k) if mask == 1 else 12) / machine["rows"]) / grid.outputs)
                * (len(k) if mask == 2 else 12)
                for k in seen
            )
            clocks += jobs * longest
            read += len(set().union(*seen)) * 12
        assert found.clocks == clocks
        assert found.weights == read


def test_keys_are_read_again_for_each_part_of_a_long_prompt() -> None:
    machine = load_accelerator("bitmod")
    formats = machine_formats(machine)
    for prompt, again in ((64, False), (8192, True)):
        work = roofline.workload("llama-2-7b", "prefill", 1, prompt, **formats)
        result = {op.name: op for op in simulate(work, machine).ops}
        values = result["model.layers.0.self_attn.values"]
        keys = stored(parse_spec(formats["kv"]), prompt * ONE, 4096).at(work.step)
        outputs = prompt * 4096 * 2
        assert values.on_chip
        assert (values.dram_bytes > 1.5 * (keys + outputs)) == again
        # No more rows of scores at a time than half of the buffer holds.
        rows_at_once = prompt / int(values.mapping.partition("m/")[2].split()[0])
        assert rows_at_once * prompt * 2 <= machine.activation_buffer.bytes


@pytest.mark.parametrize("model", ["deepseek-v3.2"])
def test_a_product_of_nothing_only_moves(model: str) -> None:
    machine = load_accelerator("bitmod")
    work = roofline.workload(model, "decode", 1, 64, **machine_formats(machine))
    assert simulate(work, machine).cycles > 0


def test_windows_are_read_off_an_op() -> None:
    machine = load_accelerator("bitmod")
    work = roofline.workload("gemma-2-2b", "prefill", 1, 5000, **machine_formats(machine))
    for op in work.ops:
        if isinstance(op.definition, FlashAttention):
            parts = list(parts_of(op, machine))
            (scores,), (values,) = parts[0].rows, parts[2].rows
            assert scores["mask"] == Mask.OUTPUTS
            assert values["mask"] == Mask.REDUCTION
            assert scores.get("window", 0) == values.get("window", 0)
    windows = {
        part.rows[0].get("window", 0)
        for op in work.ops
        if isinstance(op.definition, FlashAttention)
        for part in list(parts_of(op, machine))[:1]
    }
    assert windows == {0, 4096}
