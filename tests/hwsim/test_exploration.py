"""Design spaces: what no axis names stays as the base has it; fronts; every design simulated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import roofline
from hwsim.exploration.explore import explore
from hwsim.exploration.pareto import pareto_front
from hwsim.exploration.space import DesignSpace
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.load import FOLDER, accelerator_names, load_accelerator
from hwsim.simulation.simulate import machine_formats
from quant.common.errors import RequestError
from quant.common.sourced import Sourced


def odd_machine(folder: Path) -> str:
    """A machine whose decode array and ports follow from nothing else."""
    text = (FOLDER / "fp16.toml").read_text(encoding="utf-8")
    for old, new in (("= 32", "= 37"), ("= 64", "= 5"), ("= 12", "= 71"), ("= 384", "= 391")):
        assert f"{old}\n" in text
        text = text.replace(f"{old}\n", f"{new}\n")
    path = folder / "odd.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def bases(folder: Path) -> list[str]:
    return [*accelerator_names(), odd_machine(folder)]


def only(space: DesignSpace) -> Accelerator:
    ((machine, text),) = space.designs()
    assert text is None
    return machine


def test_a_space_without_axes_is_its_base(tmp_path: Path) -> None:
    for base in bases(tmp_path):
        assert only(DesignSpace(base)) == load_accelerator(base)


def test_an_axis_at_the_values_of_the_base_changes_nothing(tmp_path: Path) -> None:
    for base in bases(tmp_path):
        machine = load_accelerator(base)
        assert only(DesignSpace(base, rows=[machine.prefill.rows])) == machine
        assert only(DesignSpace(base, columns=[machine.prefill.columns])) == machine
        bits = machine.dram.bits_per_cycle.value
        dram = replace(machine.dram, bits_per_cycle=Sourced(bits, "design space"))
        assert only(DesignSpace(base, bandwidth=[bits])) == replace(machine, dram=dram)
        assert DesignSpace(base, formats=["x"]).designs() == [(machine, "x")]


def test_an_axis_changes_its_side_alone(tmp_path: Path) -> None:
    for base in bases(tmp_path):
        machine = load_accelerator(base)
        tall = only(DesignSpace(base, rows=[2 * machine.prefill.rows]))
        assert tall.prefill.rows == 2 * machine.prefill.rows
        assert tall.decode.rows == 2 * machine.decode.rows
        assert tall.weight_buffer.port_bits == 2 * machine.weight_buffer.port_bits
        for side in ("prefill", "decode"):
            assert getattr(tall, side).columns == getattr(machine, side).columns
        assert tall.activation_buffer == machine.activation_buffer
        assert tall.dram == machine.dram
        wide = only(DesignSpace(base, columns=[3 * machine.prefill.columns]))
        assert wide.decode.columns == 3 * machine.decode.columns
        assert wide.activation_buffer.port_bits == 3 * machine.activation_buffer.port_bits
        assert wide.decode.rows == machine.decode.rows
        assert wide.weight_buffer == machine.weight_buffer
        fast = only(DesignSpace(base, bandwidth=[512]))
        assert (fast.prefill, fast.decode) == (machine.prefill, machine.decode)
        # A side never vanishes.
        thin = only(DesignSpace(base, rows=[1], columns=[1]))
        assert min(thin.decode.rows, thin.decode.columns) >= 1


def test_every_point_of_the_grid_is_a_design() -> None:
    space = DesignSpace("bitmod", [16, 32], [8, 32], ["bitmod3"], [128, 256, 512])
    designs = space.designs()
    points = {(m.prefill.rows, m.prefill.columns, m.dram.bits_per_cycle.value) for m, _ in designs}
    assert len(designs) == len(points) == 2 * 2 * 3


def test_explore_marks_the_front() -> None:
    design = load_accelerator("bitmod")
    work = roofline.workload("smollm2-135m", "prefill", 1, 64, **machine_formats(design))
    space = DesignSpace("bitmod", rows=[16, 32], columns=[32], formats=["bitmod3", "int8"])
    frame = explore(space, work)
    assert len(frame) == 4
    three, eight = frame[frame["format"] == "bitmod3"], frame[frame["format"] == "int8"]
    assert three["pareto"].all()
    assert not eight["pareto"].any()
    assert frame.groupby("format")["time_s"].agg(lambda t: t.is_monotonic_decreasing).all()
    with pytest.raises(RequestError, match=r"rows\[0\] 0 is not allowed: at least 1"):
        DesignSpace("bitmod", rows=[0])
    with pytest.raises(RequestError, match="nearest: time_s"):
        explore(space, work, ("times",))


def test_a_space_file_names_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    path.write_text("rows = [-1]\n")
    with pytest.raises(RequestError, match=r"space\.toml: .*rows\[0\] -1 is not allowed"):
        DesignSpace.load(path)
    path.write_text("row = [1]\n")
    with pytest.raises(RequestError, match=r"space\.toml: row: no such key"):
        DesignSpace.load(path)


def test_pareto_front() -> None:
    front = pareto_front([[1, 3], [2, 2], [3, 1], [3, 3], [2, 2]])
    assert front.tolist() == [True, True, True, False, True]
    random = np.random.default_rng(0).random((40, 3))
    mask = pareto_front(random)
    for i in range(40):
        no_worse = (random <= random[i]).all(axis=1)
        dominated = (no_worse & (random < random[i]).any(axis=1)).any()
        assert mask[i] != dominated
