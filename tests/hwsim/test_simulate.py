"""Simulated cycles against the published simulator and the roofline; what cannot be simulated."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import FOLDER, accelerator_names, load_accelerator
from hwsim.machines.sram import sram_cost
from hwsim.simulation.own import with_own_formats
from hwsim.simulation.simulate import machine_formats, refetch, simulate, tiles
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from quant.plan import HEAD
from roofline.workloads.amounts import ONE, TOKENS, Amount
from roofline.workloads.ops import (
    BaseOp,
    Elementwise,
    Embedding,
    Gemm,
    LinearAttention,
    Op,
    Operands,
    Product,
)
from roofline.workloads.workload import Workload, as_scenario

GOLDEN = Path(__file__).parent.parent / "golden/bitmod_sim_layers.json"


def golden_layers() -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["layers"]
    return cases


@pytest.mark.parametrize("case", golden_layers(), ids=lambda c: f"{c['accelerator']}-{c['name']}")
def test_tiles_and_cycles_equal_the_published_simulator(case: dict[str, Any]) -> None:
    machine = load_accelerator("fp16" if case["accelerator"] == "baseline_fp16" else "bitmod")
    array = machine.array(str(case["phase"]))
    batch, n, k = case["w_dim"]
    m = case["i_dim"][1]
    gemm = Gemm(int(batch), int(m), int(n), int(k))
    count = tiles(gemm, array.rows, array.columns, machine.pe.lanes)
    assert count == case["tiles"]
    steps = machine.pe.steps(parse_spec(str(case["format"])))
    assert count * steps == case["cycle_compute"]
    got = refetch(case["bytes_w"], case["bytes_i"], 1, machine)
    assert list(got) == case["fetch_w_i"]


MODELS = ["smollm2-135m", "llama-2-7b", "mixtral-8x7b-v0.1", "deepseek-v2-lite", "mamba-2.8b"]
NO_DECODE = ["bert-base-uncased", "resnet-50"]
MODELS += NO_DECODE


@pytest.mark.parametrize("machine", accelerator_names())
@pytest.mark.parametrize("phase", ["prefill", "decode"])
@pytest.mark.parametrize("model", MODELS)
def test_never_under_the_roofline(
    machine: str, phase: Literal["prefill", "decode"], model: str
) -> None:
    design = load_accelerator(machine)
    for weights in design.weights[:: max(1, len(design.weights) // 3)]:
        if phase == "decode" and model in NO_DECODE:
            continue
        work = roofline.workload(model, phase, 1, 300, **machine_formats(design, weights))
        ((run, _),) = with_own_formats(as_scenario(work), design).parts
        bounds = roofline.analyze(run, design.hardware_spec()).ops
        result = simulate(work, design)
        for op, bound in zip(result.ops, bounds, strict=True):
            assert op.cycles / design.clock_hz.value >= bound.time_s * (1 - 1e-12), op
        assert result.area_um2 > 1e6


def test_parts_add_up() -> None:
    design = load_accelerator("bitmod")
    work = roofline.scenario("smollm2-135m", 16, 2, **machine_formats(design, "bitmod3"))
    result = simulate(work, design)
    parts = result.energy_parts_j
    assert parts["total"] == pytest.approx(sum(op.repeats * op.energy_j for op in result.ops))
    assert result.time_s == pytest.approx(sum(result.time_by_phase().values()))
    first = next(op for op in result.ops if op.name.endswith("layers.0.mlp.up_proj"))
    # 576 x 1536, 16 tokens on 32 x 32 PEs of 4 lanes, 2 steps.
    assert first.compute_cycles == (576 // 4) * (1536 // 32) * 1 * 2
    power = 0.586e-3 * 1.5 / 1e9
    assert first.compute_j == pytest.approx(first.compute_cycles * 1024 * power)
    assert first.dram_j == pytest.approx(first.dram_bytes * 8 * 18.75e-12)


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
    # 32 x 64 and 8 tokens on 32 x 32 PEs of 4 lanes, 2 terms.
    assert (result.name, result.compute_cycles) == ("a.new", 32 // 4 * 64 // 32 * 2)
    assert result.dram_bytes == 2048 + 8 * 64


def test_linear_attention_is_never_free() -> None:
    op = LinearAttention("model.layers.0.attn", FP16, 4, 64, 64, 64, 8)
    bitmod, fp16 = load_accelerator("bitmod"), load_accelerator("fp16")
    with pytest.raises(RequestError, match=r"layers\.0\.attn \(LinearAttention\): .*'fp16'"):
        simulate(with_op(bitmod, op), bitmod)
    result = simulate(with_op(fp16, op), fp16).ops[-1]
    pes = fp16.prefill.pes
    assert result.compute_cycles * pes >= op.macs.at(with_op(fp16, op).step)


@pytest.mark.parametrize("split", ["tp", "pp", "ep"])
def test_exchanges_with_other_devices_are_an_error(split: str) -> None:
    model = "mixtral-8x7b-v0.1" if split == "ep" else "llama-2-7b"
    machine = load_accelerator("bitmod")
    shared: dict[str, Any] = {**machine_formats(machine), split: 2}
    work = roofline.workload(model, "prefill", 1, 8, **shared)
    with pytest.raises(RequestError, match=r"model\..* \(\w+\): bitmod has no links"):
        simulate(work, machine)


def test_ops_without_products_only_move() -> None:
    machine = load_accelerator("bitmod")
    work = roofline.workload("smollm2-135m", "prefill", 1, 8, **machine_formats(machine))
    plain = {op.name for op in work.ops if isinstance(op.definition, Elementwise | Embedding)}
    results = [op for op in simulate(work, machine).ops if op.name in plain]
    assert results
    for op in results:
        assert (op.compute_cycles, op.compute_j, op.sram_j) == (0, 0, 0)
        assert op.dram_cycles > 0


@pytest.mark.parametrize("flash", [True, False])
def test_fused_attention_runs_as_its_parts(flash: bool) -> None:
    machine = load_accelerator("bitmod")
    formats = machine_formats(machine) | {"flash": flash}
    result = simulate(roofline.workload("smollm2-135m", "prefill", 1, 8, **formats), machine)
    kinds = [op.op for op in result.ops if "layers.0." in op.name and "attn." in op.name]
    assert {"AttentionScores", "Softmax", "AttentionValues"} <= set(kinds)
    assert "FlashAttention" not in kinds


@pytest.mark.parametrize(("activations", "bits"), [("fp16", 16), ("bf16", 16), ("fp8-e4m3", 8)])
def test_activations_are_read_at_their_own_width(
    tmp_path: Path, activations: str, bits: int
) -> None:
    text = (FOLDER / "bitmod.toml").read_text(encoding="utf-8")
    path = tmp_path / "machine.toml"
    path.write_text(text.replace('activations = "fp16"', f'activations = "{activations}"'))
    machine = load_accelerator(path)
    work = roofline.workload("smollm2-135m", "prefill", 1, 8, **machine_formats(machine))
    result = {op.name: op for op in simulate(work, machine).ops}["model.layers.0.mlp.up_proj"]
    weight, activation = machine.weight_buffer, machine.activation_buffer
    ports = [sram_cost(buffer.bytes, buffer.port_bits) for buffer in (weight, activation)]
    array, lanes, blocks = machine.prefill, machine.pe.lanes, 576 // 4 * 1536 // 32
    loaded = {op.name: op for op in work.ops}["model.layers.0.mlp.up_proj"]
    read = blocks * array.rows * lanes * 4, blocks * array.columns * lanes * bits
    written = loaded.weight_bytes * 8, loaded.activation_bytes * 8
    energy = sum(
        (r * port.read_j + w * port.write_j) / buffer.port_bits
        for r, w, port, buffer in zip(read, written, ports, (weight, activation), strict=True)
    )
    assert result.sram_j == pytest.approx(energy, rel=1e-12)
