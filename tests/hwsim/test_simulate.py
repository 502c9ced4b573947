"""Simulated cycles against the published simulator and by hand; what cannot be simulated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.dram import named_dram
from hwsim.machines.load import FOLDER, load_accelerator
from hwsim.machines.parts import Buffer, Links
from hwsim.pe.arithmetic import Arithmetic
from hwsim.simulation.op_rows import parts_of
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.tile.layer import layer_clocks
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.common.sourced import Sourced
from quant.formats.spec import parse_spec
from quant.plan import HEAD
from roofline.workloads.amounts import ONE, TOKENS, Amount
from roofline.workloads.ops import (
    BaseOp,
    Elementwise,
    Embedding,
    LinearAttention,
    Op,
    Operands,
    Product,
)
from roofline.workloads.transforms import pad_flat_products
from roofline.workloads.workload import Workload


def test_parts_add_up() -> None:
    design = load_accelerator("bitmod")
    work = roofline.scenario("smollm2-135m", 16, 2, **machine_formats(design, "bitmod3"))
    result = simulate(work, design)
    parts = result.energy_parts_j
    assert parts["total"] == pytest.approx(sum(op.repeats * op.energy_j for op in result.ops))
    assert result.cycles == round(sum(op.repeats * op.cycles for op in result.ops))
    assert result.time_s == pytest.approx(sum(result.time_by_phase().values()))
    assert result.macs == pytest.approx(sum(op.macs for part, _ in work.parts for op in part.ops))
    assert (result.tokens, result.fits) == (2, None)
    first = next(op for op in result.ops if op.name.endswith("layers.0.mlp.up_proj"))
    # 1536 rows of 576 and 16 tokens on 13 tiles of 8 x 8: 192 blocks of outputs, 2 of tokens.
    size, kind = 128, design.spec("bitmod3").scale
    jobs = ceil(192 / 13) * 2
    tile = Tile(arithmetic=Arithmetic(lanes=4, exponent_bits=2))
    assert first.compute_cycles == layer_clocks(tile, (jobs * 8, 576, 8), size, 2, kind)
    assert first.dram_j == pytest.approx(
        first.dram_bytes * 8 * design.dram.joule_per_bit.value, rel=1e-12
    )


def test_fewer_bits_never_cost_more_decode_time() -> None:
    design, times = load_accelerator("bitmod"), []
    for weights in ("bitmod3", "bitmod4", "int6", "int8"):
        formats = machine_formats(design, weights)
        work = roofline.workload("smollm2-135m", "decode", 1, 64, **formats)
        times.append(simulate(work, design).time_s)
    assert times == sorted(times)


def test_formats_the_machine_cannot_run() -> None:
    message = (
        r"model\.layers\.0\.self_attn\.q_proj \(Linear\): bitmod cannot run 'fp16'; it runs: int2"
    )
    with pytest.raises(RequestError, match=message):
        simulate(roofline.workload("smollm2-135m", "decode", 1, 8), "bitmod")
    with pytest.raises(RequestError, match="scales int8, not 'fp16'"):
        load_accelerator("bitmod").spec("bitmod3:g128:fp16")


def test_codes_set_the_formats() -> None:
    import quant

    design = load_accelerator("bitmod")
    work = roofline.workload("smollm2-135m", "decode", 1, 8, **machine_formats(design))
    path = "model.layers.0.mlp.up_proj"
    qt = quant.quantize(np.ones((1536, 576)), "int8", scale="int8")
    codes = {path: qt}
    assert simulate(work, design, codes).cycles > simulate(work, design).cycles
    assert HEAD in work.linears


def with_op(machine: Accelerator, op: Op) -> Workload:
    """A small workload that a machine runs, and one op more."""
    work = roofline.workload("smollm2-135m", "prefill", 1, 8, **machine_formats(machine))
    return replace(work, template=replace(work.template, ops=(*work.template.ops, op)))


FP16 = parse_spec("fp16")


@dataclass(frozen=True, slots=True)
class Unknown(BaseOp):
    """Multiplies, and says with what only if asked to."""

    has_product: bool = True
    stationary: str = ""
    moving: str = "fp16"
    read: float = 2048.0

    @property
    def product(self) -> Product | None:
        return Product(ONE, TOKENS, 64 * ONE, 32 * ONE) if self.has_product else None

    @property
    def operands(self) -> Operands | None:
        if not self.stationary:
            return None
        specs = parse_spec(self.stationary), parse_spec(self.moving)
        return Operands(*specs, 2048.0 * ONE, self.input_bytes)

    @property
    def macs(self) -> Amount:
        return TOKENS * 2048.0

    @property
    def input_bytes(self) -> Amount:
        return TOKENS * 64.0

    @property
    def weight_bytes(self) -> Amount:
        return ONE * self.read


@pytest.mark.parametrize(
    ("op", "message"),
    [
        (Unknown("a.new", FP16), "gives no product of two operands"),
        (Unknown("a.new", FP16, has_product=False), "gives no product of two operands"),
        (Unknown("a.new", FP16, stationary="fp16"), "bitmod cannot run 'fp16'"),
        (Unknown("a.new", FP16, stationary="int4"), "bitmod takes scales int8, not 'fp16'"),
        (
            Unknown("a.new", FP16, stationary="int4:int8", moving="fp8-e4m3"),
            "bitmod takes fp16 activations, not 'fp8-e4m3'",
        ),
        (
            Unknown("a.new", FP16, stationary="int4:int8", read=0.0),
            "its operands have 2560 bytes, but it moves only 512",
        ),
    ],
)
def test_a_product_that_is_not_known_is_an_error(op: Op, message: str) -> None:
    machine = load_accelerator("bitmod")
    with pytest.raises(RequestError, match=rf"^a\.new \(Unknown\): .*{message}"):
        simulate(with_op(machine, op), machine)


def test_an_own_product_in_known_formats_is_simulated() -> None:
    machine = load_accelerator("bitmod")
    op = Unknown("a.new", FP16, stationary="int4:int8")
    result = simulate(with_op(machine, op), machine).ops[-1]
    # 32 x 64 and 8 tokens: a job for each of 8 tiles of 8 x 8, one group of 8 blocks of 2 terms.
    tile = Tile(arithmetic=Arithmetic(lanes=4, exponent_bits=2))
    alone = layer_clocks(tile, (8, 32, 8), 128, 2, parse_spec("int4:int8").scale)
    assert (result.name, result.compute_cycles) == ("a.new", alone)
    assert result.dram_bytes == 2048 + 8 * 64


def test_linear_attention_is_never_free() -> None:
    op = LinearAttention("model.layers.0.attn", FP16, 4, 64, 64, 64, 8)
    bitmod, fp16 = load_accelerator("bitmod"), load_accelerator("fp16")
    with pytest.raises(RequestError, match=r"layers\.0\.attn \(LinearAttention\): .*'fp16'"):
        simulate(with_op(bitmod, op), bitmod)
    result = simulate(with_op(fp16, op), fp16).ops[-1]
    pes = fp16.tiles.pes
    assert result.compute_cycles * pes >= op.macs.at(with_op(fp16, op).step)


@pytest.mark.parametrize("split", ["tp", "pp", "ep"])
def test_exchanges_with_other_devices_are_an_error(split: str) -> None:
    model = "mixtral-8x7b-v0.1" if split == "ep" else "llama-2-7b"
    machine = load_accelerator("bitmod")
    shared: dict[str, Any] = {**machine_formats(machine), split: 2}
    work = roofline.workload(model, "prefill", 1, 8, **shared)
    with pytest.raises(RequestError, match=r"model\..* \(\w+\): bitmod has no links"):
        simulate(work, machine)


def test_ops_without_products_move_and_run_on_the_vector_unit() -> None:
    machine = load_accelerator("bitmod")
    formats = machine_formats(machine) | {"flash": False}
    work = roofline.workload("smollm2-135m", "prefill", 1, 8, **formats)
    plain = {op.name: op for op in work.ops if isinstance(op.definition, Elementwise | Embedding)}
    results = [op for op in simulate(work, machine).ops if op.name in plain]
    assert results
    for op in results:
        assert (op.compute_cycles, op.compute_j, op.sram_j) == (0, 0, 0)
        assert op.dram_bytes == plain[op.name].bytes
        operations = plain[op.name].ops
        assert op.vector_cycles >= operations / machine.vector.lanes
        assert (op.vector_j > 0) == (operations > 0)


def test_padded_products_are_computed_padded() -> None:
    machine = load_accelerator("bitmod")
    work = roofline.workload("smollm2-135m", "decode", 1, 64, **machine_formats(machine))
    for op in simulate(pad_flat_products(work, 64), machine).ops:
        assert op.utilisation <= 1
    plain, padded = (
        simulate(w, machine).compute_cycles for w in (work, pad_flat_products(work, 64))
    )
    assert padded > plain


@pytest.mark.parametrize(("activations", "bits"), [("fp16", 16), ("bf16", 16), ("fp8-e4m3", 8)])
def test_activations_are_read_at_their_own_width(
    tmp_path: Path, activations: str, bits: int
) -> None:
    text = (FOLDER / "bitmod.toml").read_text(encoding="utf-8")
    path = tmp_path / "machine.toml"
    path.write_text(text.replace('activations = "fp16"', f'activations = "{activations}"'))
    machine = load_accelerator(path)
    work = roofline.workload("smollm2-135m", "prefill", 1, 8, **machine_formats(machine))
    rows_ = {op.name: next(parts_of(op, machine)).rows[0] for op in work.ops}
    row = rows_["model.layers.0.mlp.up_proj"]
    # A grouped format's scales are read with its numbers.
    assert row["input_bits"] == row["output_bits"] == machine.activations.bytes_each * 8
    assert bits <= row["input_bits"] < 1.02 * bits
    assert row["held_bits"] == pytest.approx(machine.default_weights.bytes_each * 8, rel=1e-3)


def test_a_model_that_does_not_fit_is_said() -> None:
    machine = load_accelerator("bitmod")
    small = replace(machine, dram=named_dram("lpddr5"))
    formats = machine_formats(machine)
    assert (
        simulate(roofline.workload("smollm2-135m", "decode", 1, 8, **formats), small).fits is True
    )
    assert (
        simulate(roofline.workload("llama-2-70b", "decode", 1, 8, **formats), small).fits is False
    )


def test_what_no_buffer_holds_is_an_error() -> None:
    machine = load_accelerator("bitmod")
    work = roofline.workload("smollm2-135m", "prefill", 1, 64, **machine_formats(machine))
    for name, bytes_, message in (
        (
            "weight_buffer",
            512,
            "the weight buffer of bitmod has 512 bytes: its smallest part needs 1[01]",
        ),
        (
            "activation_buffer",
            4096,
            "the activation buffer of bitmod has 4096 bytes: its smallest part",
        ),
    ):
        few: dict[str, Any] = {name: Buffer(bytes_, 64, 1)}
        small = replace(machine, **few)
        with pytest.raises(RequestError, match=message):
            simulate(work, small)


def test_links_carry_what_devices_exchange() -> None:
    alone = load_accelerator("bitmod")
    number = Sourced(1e11, "test")
    links = Links(number, Sourced(5e-12, "test"), Sourced(1e-6, "test"))
    machine = replace(alone, links=links)
    formats = {**machine_formats(machine), "tp": 2}
    result = simulate(roofline.workload("llama-2-7b", "prefill", 1, 8, **formats), machine)
    shared = [op for op in result.ops if op.op == "AllReduce"]
    assert len(shared) == 64
    for op in shared:
        sent = 8 * 4096 * 2  # a ring of two: each sends half of the message twice
        assert op.link_cycles == ceil((sent / 1e11 + 2e-6) * 1e9)
        assert op.link_j == pytest.approx(sent * 8 * 5e-12)
    assert result.cycles >= sum(op.link_cycles for op in shared)
