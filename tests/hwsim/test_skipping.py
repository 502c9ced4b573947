"""Clocks that depend on the data: counted from codes, equal to the tile's packets and to loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import quant
import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements.bit_serial import BitSerial
from hwsim.machines.elements.counting import SAMPLE, measured
from hwsim.machines.elements.skipping import Skipping, Together
from hwsim.machines.load import load_accelerator
from hwsim.pe.operands import weights
from hwsim.simulation.clocks import Grid, load
from hwsim.simulation.codes import EXPECTED, MEASURED
from hwsim.simulation.machine_row import machine_row
from hwsim.simulation.records import OP
from hwsim.simulation.records import rows as rows_of
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.tile.clocks import clocks, issue_clocks
from hwsim.tile.packets import jobs
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from quant.tensors.tensor import QuantizedTensor

FORMATS = (
    "bitmod4:g32:int8", "bitmod3:g64:int8", "int8:g128:int8", "int4-asym:g32:int8",
    "mxfp4:g32:e8m0", "nvfp4:g16:e4m3", "fp3:g96:int8", "int6:g128:int8", "mxint8:g32:e8m0",
)  # fmt: skip
RNG = np.random.default_rng(17)


def sparse(shape: tuple[int, int], format_: str) -> QuantizedTensor:
    """Codes of which a drawn share is zero."""
    dense = RNG.random(shape) < RNG.choice([1, 0.5, 0.2, 0.05])
    return quant.quantize((RNG.standard_normal(shape) * dense).astype(np.float32), format_)


def skipping_tile(rows: int, columns: int, lanes: int = 4) -> Accelerator:
    """A machine of one tile that passes over zero steps."""
    base = load_accelerator("bitmod-rtl")
    assert isinstance(base.pe, BitSerial)
    tiles = replace(base.tiles, count=1, rows=rows, columns=columns)
    return replace(base, pe=replace(base.pe, skip_zero_steps=True, lanes=lanes), tiles=tiles)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_tile_that_skips_issues_the_counted_steps(format_: str) -> None:
    """Exactly as many steps as the packets have; the clocks are within a tenth of theirs."""
    for _ in range(6):
        rows_, columns, digit = (int(RNG.integers(1, 5)), int(RNG.integers(1, 5)), 2)
        machine = skipping_tile(rows=rows_, columns=columns, lanes=int(RNG.choice([1, 2, 4])))
        assert isinstance(machine.pe, BitSerial)
        shape = int(RNG.integers(1, 24)), int(RNG.integers(1, 300))
        tokens, codes = int(RNG.integers(1, 9)), sparse(shape, format_)
        rule = machine.pe.arithmetic(machine.activations)
        tile = Tile(rows_, columns, 128, digit, skip_zero_steps=True, arithmetic=rule)
        operand, rule = weights(codes, rule)
        words = rule.activations.words(np.full((tokens, shape[1]), 1.5, np.float16))
        packets = [packet for job in jobs(operand, words, tile) for packet in job.packets]
        found = machine.measured(codes)
        assert found is not None
        issued = sum(issue_clocks(packet, tile) for packet in packets)
        assert found.steps == pytest.approx(
            issued / sum(len(packet.words) for packet in packets), rel=1e-12
        )
        assert simulated(machine, codes, tokens) == pytest.approx(clocks(packets, tile), rel=0.1)


def simulated(machine: Accelerator, codes: QuantizedTensor, tokens: int) -> float:
    """Clocks that the cost function gives a layer of these codes."""
    timing, found, op = machine.timing(codes.spec), machine.measured(codes), rows_of(OP, 1)
    assert found is not None
    outputs, inputs = codes.shape
    for key, value in {
        "product": 1, "batch": 1, "m": tokens, "n": outputs, "k": inputs, "shared": 1,
        "law": timing.law, "steps": found.steps, "size": codes.spec.group_size,
        "group_clocks": timing.group_clocks, "job_clocks": timing.job_clocks,
    }.items():  # fmt: skip
        op[key] = value
    return load(op[0], machine_row(machine), Grid(1, 1, 1), inputs).clocks


@pytest.mark.parametrize("lanes_wait", ["together", "alone"])
@pytest.mark.parametrize("rows_wait", ["together", "alone"])
def test_counts_equal_a_walk_over_all_blocks(lanes_wait: Together, rows_wait: Together) -> None:
    """Block by block in plain Python: rows and lanes that share steps, or wait for the slowest."""
    codes = sparse((13, 100), "int8:g32:int8")
    needs = RNG.integers(0, 1 << 6, (1, 256)).astype(np.uint64)
    lanes, rows_ = 8, 4
    index_bits = 8
    skipping = Skipping(needs, lanes_wait, rows_wait, index_bits)
    found = measured(codes, skipping, lanes, rows_, 1 << 20)
    of = needs[0][codes.unpack_codes()]
    total, blocks, own = 0, 0, 0
    for first in range(0, 13, rows_):
        for low in range(0, 100, lanes):
            block = of[first : first + rows_, low : low + lanes]
            if lanes_wait == "together":
                alone = [int(np.bitwise_or.reduce(row)).bit_count() for row in block]
            else:
                alone = [max(int(bits).bit_count() for bits in row) for row in block]
            union = int(np.bitwise_or.reduce(block, axis=None))
            if len(block) < rows_:
                union |= int(needs[0, 0])
            total += max(1, union.bit_count() if rows_wait == "together" else max(alone))
            own += sum(alone) * lanes + len(block) * index_bits
            blocks += 1
    assert found.steps == pytest.approx(total / blocks, rel=1e-12)
    assert found.weight_bits == pytest.approx(own / codes.codes.size, rel=1e-12)


def test_codes_of_a_layer_change_its_clocks_alone() -> None:
    """Ops of codes say so; those without are taken as normal; layers of unlike codes differ."""
    machine = skipping_tile(rows=1, columns=8)
    work = roofline.workload("smollm2-135m", "prefill", 1, 64, **machine_formats(machine))
    spec = str(machine.default_weights)
    paths = [f"model.layers.{layer}.mlp.up_proj" for layer in (0, 1)]
    shape = work.inventory[paths[0]].shape
    dense = quant.quantize(RNG.standard_normal(shape).astype(np.float32), spec)
    zeros = quant.quantize(np.zeros(shape, np.float32), spec)
    given = {paths[0]: dense, paths[1]: zeros}
    results = {op.name: op for op in simulate(work, machine, given).ops}
    plain = {op.name: op for op in simulate(work, machine).ops}
    assert {results[path].steps_from for path in paths} == {MEASURED}
    assert results[paths[1]].steps == 1.0
    assert results[paths[1]].cycles < results[paths[0]].cycles
    assert results[paths[0]].steps == pytest.approx(plain[paths[0]].steps, rel=0.01)
    others = {name for name in plain if name not in paths}
    assert all(results[name] == plain[name] for name in others)
    assert plain[paths[0]].steps_from == EXPECTED
    assert all(not op.steps_from for op in simulate(work, "bitmod").ops)


def test_a_checkpoints_folder_stands_for_its_codes(tmp_path: Path) -> None:
    machine = skipping_tile(rows=1, columns=8)
    work = roofline.workload("smollm2-135m", "decode", 1, 64, **machine_formats(machine))
    path = "model.layers.3.self_attn.q_proj"
    shape = work.inventory[path].shape
    codes = {path: sparse(shape, str(machine.default_weights))}
    quant.save_quantized(tmp_path / "made", codes)
    assert simulate(work, machine, tmp_path / "made").ops == simulate(work, machine, codes).ops
    with pytest.raises(RequestError, match="nowhere"):
        simulate(work, machine, tmp_path / "nowhere")
    quant.save_quantized(tmp_path / "other", {"model.layers.99.x": codes[path]})
    with pytest.raises(RequestError, match=r"model\.layers\.99\.x"):
        simulate(work, machine, tmp_path / "other")


def test_what_is_expected_is_of_normal_weights() -> None:
    machine = skipping_tile(rows=2, columns=8)
    spec = parse_spec("bitmod4:g64:int8")
    drawn = quant.quantize(RNG.standard_normal(SAMPLE).astype(np.float32), spec)
    found, expected = machine.measured(drawn), machine.expected(spec)
    assert found is not None
    assert expected is not None
    assert found.steps == pytest.approx(expected.steps, rel=0.005)
    assert machine.timing(spec).steps == expected.steps


@pytest.mark.parametrize("name", ["bitwave", "bitvert", "pragmatic", "stripes"])
def test_no_codes_are_faster_than_the_roofline(name: str) -> None:
    machine = load_accelerator(name)
    work = roofline.workload("smollm2-135m", "prefill", 8, 512, **machine_formats(machine))
    path = "model.layers.0.mlp.up_proj"
    zeros = quant.quantize(np.zeros(work.inventory[path].shape, np.float32), "int8:row:fp16")
    peak = machine.hardware_spec().peak_weights
    assert peak is not None
    for op in simulate(work, machine, {path: zeros}).ops:
        if op.macs and op.op == "Linear":
            assert op.cycles / machine.clock_hz.value >= 2 * op.macs / peak["int8"].value


def test_experts_without_codes_are_expected_as_normal() -> None:
    machine = load_accelerator("bitwave")
    config = {
        "model_type": "mixtral", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 128,
        "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
        "num_local_experts": 4, "num_experts_per_tok": 2,
    }  # fmt: skip
    work = roofline.workload(config, "prefill", 1, 32, **machine_formats(machine))
    stack = "model.layers.0.mlp.experts.gate_up_proj"
    shape = work.inventory[f"{stack}[0]"].shape
    zeros = quant.quantize(np.zeros(shape, np.float32), "int8:row:fp16")
    steps = {}
    for count in (0, 1, 4):
        found = simulate(work, machine, {f"{stack}[{i}]": zeros for i in range(count)}).ops
        (op,) = (op for op in found if op.name.startswith(stack))
        steps[count] = op.steps
        wanted = {0: EXPECTED, 1: f"{MEASURED} (1 of 4), {EXPECTED}", 4: MEASURED}
        assert op.steps_from == wanted[count]
    assert steps[4] == 1
    assert steps[1] == pytest.approx((1 + 3 * steps[0]) / 4)


def test_all_wrong_codes_are_named_before_any_is_counted() -> None:
    machine = load_accelerator("bitwave")
    work = roofline.workload("smollm2-135m", "prefill", 1, 8, **machine_formats(machine))
    small = quant.quantize(np.ones((4, 128)), "int8:row:fp16")
    other = quant.quantize(np.ones((576, 576)), "bitmod4:g64:int8")
    codes = {
        "model.layers.0.mlp.up_proj": small,
        "model.layers.99.x": small,
        "model.layers.1.self_attn.q_proj": other,
    }
    with pytest.raises(RequestError) as caught:
        simulate(work, machine, codes)
    for part in (
        r"model.layers.0.mlp.up_proj: codes of shape (4, 128): (1536, 576) is needed",
        "unknown layer 'model.layers.99.x'",
        "model.layers.1.self_attn.q_proj: bitwave cannot run 'bitmod4'",
    ):
        assert part in str(caught.value)


def test_results_are_values() -> None:
    """They compare and hash, with codes and without."""
    machine = load_accelerator("bitwave")
    work = roofline.workload("smollm2-135m", "decode", 1, 8, **machine_formats(machine))
    path = "model.layers.0.self_attn.q_proj"
    codes = {path: sparse(work.inventory[path].shape, "int8:row:fp16")}
    first, second = (simulate(work, machine, codes) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert first != simulate(work, machine)


def test_whole_rows_are_expected_at_their_own_length() -> None:
    """A longer row has a larger largest weight, so that fewer columns have a one."""
    machine = load_accelerator("pragmatic")
    spec = parse_spec("int8:row:fp16")
    steps = []
    for inputs in (64, 512, 4096):
        found = machine.expected(spec, inputs)
        assert found is not None
        drawn = quant.quantize(RNG.standard_normal((256, inputs)).astype(np.float32), spec)
        measured_ = machine.measured(drawn)
        assert measured_ is not None
        assert found.steps == pytest.approx(measured_.steps, rel=0.01)
        steps.append(found.steps)
    assert steps == sorted(steps, reverse=True)
