"""What must hold of any machine and any work: bounds, monotone times, sums, energies."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roofline
from hwsim.exploration.axes import changed
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import accelerator_names, load_accelerator
from hwsim.simulation.machine_row import machine_row
from hwsim.simulation.own import with_own_formats
from hwsim.simulation.records import OP, Record, rows
from hwsim.simulation.run import run
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common.sourced import Sourced
from roofline.workloads.workload import Workload, as_scenario
from tests.hwsim.bounds import least_time

MODELS = ("smollm2-135m", "qwen2.5-0.5b", "gemma-2-2b", "mixtral-8x7b-v0.1")
COMMON = settings(max_examples=25, deadline=None)


@st.composite
def machines(draw: st.DrawFn) -> Accelerator:
    """A built-in machine with other sizes."""
    base = load_accelerator(draw(st.sampled_from(accelerator_names())))
    return changed(
        base,
        {
            "tiles": draw(st.integers(1, 20)),
            "tile.rows": draw(st.integers(1, 16)),
            "tile.columns": draw(st.integers(1, 16)),
            "weight_buffer.bytes": 1 << draw(st.integers(15, 21)),
            "activation_buffer.bytes": 1 << draw(st.integers(16, 21)),
            "weight_buffer.port_bits": 1 << draw(st.integers(7, 11)),
            "activation_buffer.port_bits": 1 << draw(st.integers(7, 11)),
            "dram": draw(st.sampled_from(["lpddr4", "lpddr5*4", "hbm3*8"])),
            "tiles.sharing": draw(st.sampled_from(["any", "outputs", "tokens"])),
        },
    )


@st.composite
def products(draw: st.DrawFn) -> dict[str, Any]:
    """The sizes of a product."""
    return {
        "product": 1, "repeats": 1.0, "shared": 1, "batch": draw(st.integers(1, 64)),
        "m": draw(st.integers(1, 300)), "n": draw(st.integers(1, 3000)),
        "k": draw(st.integers(1, 3000)),
    }  # fmt: skip


def row_of(machine: Accelerator, sizes: dict[str, Any]) -> Record:
    """A product's row in a machine's default format."""
    spec = machine.default_weights
    timing, table = machine.timing(spec), rows(OP, 1)
    held = spec.bytes_each * 8
    number = sizes["batch"] * sizes["k"]
    values = sizes | {
        "law": timing.law, "steps": timing.steps, "size": spec.group_size,
        "group_clocks": timing.group_clocks, "job_clocks": timing.job_clocks,
        "held_bits": held, "input_bits": 16.0, "output_bits": 16.0,
        "weight_bytes": number * sizes["n"] * held / 8, "input_bytes": number * sizes["m"] * 2.0,
        "output_bytes": sizes["batch"] * sizes["m"] * sizes["n"] * 2.0,
    }  # fmt: skip
    for key, value in values.items():
        table[key] = value
    return table


def cycles(machine: Accelerator, sizes: dict[str, Any]) -> float:
    """Clocks of a product on a machine; infinite where it does not fit."""
    found = run(row_of(machine, sizes), machine_row(machine)).costs[0]
    return float("inf") if found["misfit"] else float(found["cycles"])


def work_of(machine: Accelerator, model: str, phase: str, context: int) -> Workload:
    formats = machine_formats(machine)
    return roofline.workload(model, phase, 1, context, **formats)  # type: ignore[arg-type]


@COMMON
@given(
    machines(),
    products(),
    st.sampled_from(
        [
            "tiles",
            "weight_buffer.bytes",
            "activation_buffer.bytes",
            "weight_buffer.port_bits",
            "activation_buffer.port_bits",
            "dram.bytes_per_s",
        ]
    ),
)
def test_more_of_anything_is_never_slower(
    machine: Accelerator, sizes: dict[str, Any], axis: str
) -> None:
    before: Any = machine
    for part in {"tiles": "tiles.count"}.get(axis, axis).split("."):
        before = getattr(before, part)
    value = before.value * 2 if isinstance(before, Sourced) else before * 2
    assert cycles(changed(machine, {axis: value}), sizes) <= cycles(machine, sizes)


@COMMON
@given(machines(), products(), st.floats(1.01, 4))
def test_a_faster_clock_is_never_slower(
    machine: Accelerator, sizes: dict[str, Any], factor: float
) -> None:
    clock = machine.clock_hz.value  # the fastest that its supply allows
    slow = changed(machine, {"clock": clock / factor})
    # Clocks are whole, and each of the waits for the memory is rounded up.
    assert cycles(machine, sizes) / factor <= cycles(slow, sizes) + 3


@COMMON
@given(machines(), products(), st.sampled_from(["m", "n", "k", "batch"]))
def test_more_work_is_never_faster(machine: Accelerator, sizes: dict[str, Any], axis: str) -> None:
    larger = sizes | {axis: sizes[axis] + 1}
    assert cycles(machine, larger) >= cycles(machine, sizes)


@COMMON
@given(machines(), products(), st.floats(0.1, 1))
def test_the_clock_changes_no_energy_of_events(
    machine: Accelerator, sizes: dict[str, Any], factor: float
) -> None:
    other = changed(machine, {"clock": machine.clock_hz.value * factor})
    one, two = (run(row_of(m, sizes), machine_row(m)) for m in (machine, other))
    if one.costs["misfit"][0] or one.ways[0] != two.ways[0]:
        return
    for key in ("compute_j", "sram_j", "vector_j", "dram_j"):
        assert one.costs[key][0] == pytest.approx(two.costs[key][0], rel=1e-12)


@settings(max_examples=12, deadline=None)
@given(
    machines(), st.sampled_from(MODELS), st.sampled_from(["prefill", "decode"]), st.integers(1, 600)
)
def test_never_under_the_roofline_of_the_same_machine(
    machine: Accelerator, model: str, phase: str, context: int
) -> None:
    # What no plan names keeps its format where the machine runs it, as simulate does.
    ((work, _),) = with_own_formats(
        as_scenario(work_of(machine, model, phase, context)), machine
    ).parts
    bounds = roofline.analyze(work, machine.hardware_spec()).ops
    found = iter(simulate(work, machine).ops)
    for op, bound in zip(work.ops, bounds, strict=True):
        clocks = sum(next(found).cycles for _ in op.unfused())
        assert clocks / machine.clock_hz.value >= least_time(bound, machine) * (1 - 1e-9)


@settings(max_examples=12, deadline=None)
@given(machines(), st.sampled_from(MODELS), st.integers(1, 400))
def test_one_more_token_never_costs_less(machine: Accelerator, model: str, context: int) -> None:
    for phase in ("prefill", "decode"):
        short, long = (
            simulate(work_of(machine, model, phase, context + more), machine) for more in (0, 1)
        )
        assert long.time_s >= short.time_s * (1 - 1e-12)


@settings(max_examples=12, deadline=None)
@given(machines(), st.sampled_from(MODELS), st.integers(1, 300))
def test_parts_add_up_to_the_whole(machine: Accelerator, model: str, context: int) -> None:
    result = simulate(work_of(machine, model, "prefill", context), machine)
    assert result.cycles == round(sum(op.repeats * op.cycles for op in result.ops))
    assert result.energy_j == pytest.approx(sum(op.repeats * op.energy_j for op in result.ops))
    assert 0 < result.utilisation <= 1
    for op in result.ops:
        parts = (
            op.compute_cycles,
            op.port_cycles,
            op.vector_cycles,
            op.dram_cycles,
            op.link_cycles,
        )
        assert op.cycles >= max(parts)
        assert min(op.compute_j, op.sram_j, op.vector_j, op.dram_j, op.leakage_j) >= 0


def test_links_and_leakage_follow_the_time() -> None:
    machine = load_accelerator("bitmod")
    slow = replace(machine, clock_hz=Sourced(1e8, "test"))
    work = work_of(machine, "smollm2-135m", "prefill", 64)
    fast_j, slow_j = (simulate(work, m).energy_parts_j["leakage"] for m in (machine, slow))
    assert slow_j > 5 * fast_j
