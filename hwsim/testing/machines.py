"""Contracts of devices, machines and elements."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import roofline
from hwsim.machines.accelerator import Accelerator
from hwsim.machines.elements import Element, element_kind
from hwsim.machines.load import load_accelerator
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.testing.refusals import refusal
from quant.common.sourced import Sourced
from quant.formats.spec import FormatSpec, parse_spec
from roofline.devices.device import HardwareSpec, load_hardware

MODEL = "smollm2-135m"


def sourced(value: object) -> Iterator[Sourced]:
    """Yield every sourced number of a dataclass, at any depth."""
    if isinstance(value, Sourced):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from sourced(entry)
    elif isinstance(value, tuple):
        for entry in value:
            yield from sourced(entry)
    elif dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from sourced(getattr(value, field.name))


class DeviceContract:
    """Set ``device``: a built-in name, or the path of a TOML file."""

    device: ClassVar[str | Path]

    def hardware(self) -> HardwareSpec:
        """The device under test."""
        return load_hardware(self.device)

    def test_every_number_has_a_source(self) -> None:
        """No number without a word on where it comes from."""
        numbers = list(sourced(self.hardware()))
        assert numbers
        assert all(number.source.strip() for number in numbers)

    def test_bounds(self) -> None:
        """Every op of a model has a finite time and a bound; decoding is at least its bytes."""
        hardware = self.hardware()
        for phase in ("prefill", "decode"):
            work = roofline.workload(MODEL, phase, 1, 64)
            analysis = roofline.analyze(work, hardware)
            assert math.isfinite(analysis.time_s)
            assert analysis.time_s >= work.bytes / hardware.memory_bandwidth.value * (1 - 1e-9)
            assert math.isclose(sum(analysis.bound_share().values()), 1.0)

    def test_expected_times(self) -> None:
        """A calibration is found for it, its own or a borrowed one, and times are above bounds."""
        hardware = self.hardware()
        law = roofline.load_calibration(hardware)
        work = roofline.workload(MODEL, "decode", 1, 64)
        expected = roofline.analyze(work, hardware, law)
        assert math.isfinite(expected.time_s)
        assert expected.time_s > 0
        assert 0 <= expected.expected_error < 1

    def test_more_work_takes_no_less(self) -> None:
        """A longer context and a larger batch do not take less time."""
        hardware = self.hardware()
        times = [
            roofline.analyze(roofline.workload(MODEL, "decode", b, c), hardware).time_s
            for b, c in ((1, 64), (1, 128), (2, 128))
        ]
        assert times == sorted(times)


class AcceleratorContract:
    """Set ``accelerator``: a built-in name, or the path of a TOML file."""

    accelerator: ClassVar[str | Path]

    def machine(self) -> Accelerator:
        """The machine under test."""
        return load_accelerator(self.accelerator)

    def test_every_number_has_a_source(self) -> None:
        """No number without a word on where it comes from."""
        assert all(number.source.strip() for number in sourced(self.machine()))

    def test_it_runs_every_format_that_it_lists(self) -> None:
        """Both phases of a model, in each format: cycles, energy and area above 0, bounds kept."""
        machine = self.machine()
        hardware = machine.hardware_spec()
        for name in machine.weights:
            formats = machine_formats(machine, name)
            work = roofline.scenario(MODEL, 16, 1, 1, **formats)
            result = simulate(work, machine)
            assert result.cycles > 0, name
            assert result.energy_j > 0, name
            assert result.area_um2 > 0, name
            moved = sum(part.bytes * n for part, n in work.parts)
            assert result.time_s >= moved / hardware.memory_bandwidth.value * (1 - 1e-9), name

    def test_the_same_twice(self) -> None:
        """The same request gives the same answer."""
        machine = self.machine()
        work = roofline.workload(MODEL, "decode", 1, 16, **machine_formats(machine))
        first, again = simulate(work, machine), simulate(work, machine)
        assert first.ops == again.ops

    def test_more_work_takes_no_less(self) -> None:
        """A longer context takes no fewer cycles and no less energy."""
        machine = self.machine()
        formats = machine_formats(machine)
        short, long = (
            simulate(roofline.workload(MODEL, "decode", 1, context, **formats), machine)
            for context in (16, 256)
        )
        assert short.cycles <= long.cycles
        assert short.energy_j <= long.energy_j


class ElementContract:
    """Set ``element``, and the format strings that it runs and one that it refuses (or None)."""

    element: ClassVar[Element]
    runs: ClassVar[tuple[str, ...]]
    refuses: ClassVar[str | None] = None
    activations: ClassVar[str] = "fp16"

    def specs(self) -> list[FormatSpec]:
        """The formats that it runs."""
        return [parse_spec(text) for text in self.runs]

    def test_its_kind_is_known(self) -> None:
        """Machine files find it by its name."""
        assert element_kind(self.element.kind) is type(self.element)

    def test_steps(self) -> None:
        """A block takes at least a cycle, a whole number of them."""
        for spec in self.specs():
            steps = self.element.steps(spec)
            assert isinstance(steps, int), str(spec)
            assert steps >= 1, str(spec)

    def test_what_it_cannot_run_is_refused(self) -> None:
        """A clear error, not a number."""
        if self.refuses is not None:
            spec = parse_spec(self.refuses)
            assert refusal(lambda: self.element.steps(spec))

    def test_energy_and_area(self) -> None:
        """Area and energy above 0, leakage not below."""
        assert 0 < self.element.step_j.value < math.inf
        assert 0 <= self.element.idle_share.value <= 1
        assert 0 <= self.element.leakage_w.value < math.inf
        assert 0 < self.element.area_um2.value < math.inf
        assert self.element.lanes >= 1

    def test_more_lanes_are_not_free(self) -> None:
        """Twice the lanes take more area and energy; the lanes that it has change nothing."""
        wide = self.element.resized(2 * self.element.lanes)
        assert wide.lanes == 2 * self.element.lanes
        assert wide.area_um2.value > self.element.area_um2.value
        assert wide.step_j.value > self.element.step_j.value
        assert self.element.resized(self.element.lanes) == self.element

    def test_timing(self) -> None:
        """A block takes at least as many clocks as it has steps, results leave in whole clocks."""
        for spec in self.specs():
            timing = self.element.timing(spec, 8)
            assert timing.steps > 0, str(spec)
            assert min(timing.group_clocks, timing.job_clocks) >= 0, str(spec)

    def test_bits_of_a_block(self) -> None:
        """A block reads its codes and its activations from the buffers."""
        activations = parse_spec(self.activations)
        for spec in self.specs():
            assert self.element.weight_bits(spec) >= self.element.lanes, str(spec)
        assert self.element.activation_bits(activations) >= self.element.lanes

    def test_it_has_no_faults(self) -> None:
        """Its own check finds nothing wrong with it."""
        group = self.specs()[0].own_group_size
        assert self.element.faults(parse_spec(self.activations), group) == []
