"""Kinds of processing elements: the built-in ones, and one of a user's in a file of its own."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

import roofline
from hwsim.machines.elements import (
    BitSerial,
    Element,
    Law,
    MultiplyAccumulate,
    ProcessingElement,
    Timing,
    element_kind,
    element_kinds,
    register,
)
from hwsim.machines.elements import base as registry
from hwsim.machines.load import FOLDER, load_accelerator
from hwsim.pe import Arithmetic, pe_formats, term_count
from hwsim.simulation.simulate import machine_formats, simulate
from hwsim.tile.layer import layer_clocks, total
from hwsim.tile.side_band import rtl_formats
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.common.sourced import Sourced
from quant.formats.registry import get_format
from quant.formats.scales import SCALES
from quant.formats.spec import FormatSpec, parse_spec

ONE = Sourced(1.0, "test")
FOUR = (ONE, ONE, ONE, ONE)
FP16 = parse_spec("fp16")


def test_the_kinds_that_machine_files_may_name() -> None:
    assert {"bit-serial", "multiply-accumulate"} <= {*element_kinds()}
    assert element_kind("bit-serial") is BitSerial
    assert element_kind("multiply-accumulate") is MultiplyAccumulate
    with pytest.raises(RequestError, match=r"unknown element kind 'quantum' \(.*bit-serial"):
        element_kind("quantum")


@pytest.mark.parametrize("bits", [2, 5])
def test_a_bit_serial_element_takes_a_cycle_a_term(bits: int) -> None:
    element = BitSerial(4, ONE, ONE, ONE, ONE, exponent_bits=bits)
    for name in pe_formats(bits):
        spec = replace(parse_spec(name), group_size=get_format(name).group_size or 128)
        if spec.group_size > element.max_group:
            continue
        assert element.steps(spec) == term_count(name, bits)
        assert element.weight_bits(spec) == 4 * spec.format.element_bits
    with pytest.raises(RequestError, match="cannot run on a bit-serial PE"):
        element.steps(FP16)
    assert {str(kind) for kind in element.scales} >= {"int8", "e8m0", "e4m3"}
    assert element.arithmetic(FP16) == Arithmetic(lanes=4, exponent_bits=bits)


def test_a_multiply_accumulate_element_takes_one_cycle() -> None:
    element = MultiplyAccumulate(8, ONE, ONE, ONE, ONE)
    assert [element.steps(parse_spec(name)) for name in ("fp16", "int4", "nf4")] == [1, 1, 1]
    assert (element.scales, element.arithmetic(FP16)) == (None, None)
    assert element.activation_bits(parse_spec("int8")) == 8 * 8
    assert element.timing(FP16, 8) == Timing(Law.SYSTOLIC, 1)
    twice = element.resized(16)
    assert (twice.lanes, twice.area_um2.value, twice.step_j.value) == (16, 2.0, 2.0)


def test_a_bit_serial_element_has_the_clocks_of_the_tile() -> None:
    element = BitSerial(4, *FOUR, exponent_bits=5)
    for name in rtl_formats(5):
        for kind in (SCALES["int8"], SCALES["e8m0"], SCALES["e4m3"]):
            spec = FormatSpec(get_format(name), 32, kind)
            for rows in (1, 8, 64):
                law, steps, drain, end = element.timing(spec, rows)
                tile = Tile(
                    rows, 8, 128, element.digit_bits, arithmetic=Arithmetic(exponent_bits=5)
                )
                corrects = name.endswith("asym")
                alone = layer_clocks(tile, (rows, 96, 8), 32, int(steps), kind, corrects)
                assert alone == total(1, 3, 8, 8, int(steps), drain, end), name
                assert law == Law.TILE
    with pytest.raises(RequestError, match="groups of at most 128 weights are allowed"):
        element.steps(parse_spec("int4:g256:int8"))


def test_lanes_are_not_free() -> None:
    element = BitSerial(4, Sourced(25_620.0, "a"), ONE, ONE, ONE)
    assert element.resized(8).area_um2.value == pytest.approx(47_957, rel=1e-3)
    assert element.resized(16).area_um2.value == pytest.approx(120_180, rel=1e-3)
    assert element.resized(4) is element
    assert "for 8 lanes in place of 4" in element.resized(8).area_um2.source


@pytest.fixture
def own_names() -> Iterator[None]:
    """Forget what a test registers."""
    before = dict(registry._KINDS)
    yield
    registry._KINDS.clear()
    registry._KINDS.update(before)


@pytest.mark.usefixtures("own_names")
def test_names_belong_to_one_kind() -> None:
    @dataclass(frozen=True)
    class Other(MultiplyAccumulate):
        kind: ClassVar[str] = "bit-serial"

    with pytest.raises(RequestError, match="'bit-serial' is taken"):
        register(Other)

    class Thawed:
        kind = "thawed"

    unfit: Any = Thawed
    with pytest.raises(RequestError, match="Thawed: a frozen dataclass is needed"):
        register(unfit)
    assert register(BitSerial) is BitSerial
    assert "thawed" not in element_kinds()


OWN = '''
"""An element with 4-bit multipliers; wider weights take a cycle for every 4 bits (user's file)."""

from dataclasses import dataclass, replace
from typing import ClassVar

from hwsim.machines.elements import ProcessingElement, register
from quant.common.errors import RequestError


@register
@dataclass(frozen=True)
class Nibbles(ProcessingElement):
    kind: ClassVar[str] = "nibbles"
    overhead_bits: int = 0

    @property
    def scales(self):
        return None

    def steps(self, spec):
        if spec.format.is_plain:
            raise RequestError(f"nibbles cannot multiply {spec.format.name!r}")
        return -(-spec.format.element_bits // 4)

    def weight_bits(self, spec):
        return super().weight_bits(spec) + self.overhead_bits

    def faults(self, activations, group_size):
        faults = super().faults(activations, group_size)
        if self.overhead_bits < 0:
            faults.append(f"pe.overhead_bits = {self.overhead_bits}: at least 0 is needed")
        return faults
'''


@pytest.fixture
def nibbles(tmp_path: Path, own_names: None) -> Path:
    """A machine's file that names the kind of a user's file."""
    source = tmp_path / "nibbles.py"
    source.write_text(OWN)
    spec = importlib.util.spec_from_file_location("nibbles", source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["nibbles"] = module
    spec.loader.exec_module(module)
    text = (FOLDER / "bitmod.toml").read_text(encoding="utf-8")
    head, _, rest = text.partition('weights = ["int2"')
    rest = 'weights = ["int4", "int8", "nf4"]\n' + rest.split("\n", 2)[2]
    text = (head + rest).replace('"bit-serial"', '"nibbles"')
    path = tmp_path / "nibbles.toml"
    path.write_text(text.replace("lanes = 4", "lanes = 4\noverhead_bits = 3"))
    return path


def test_an_own_element_runs(nibbles: Path) -> None:
    machine = load_accelerator(nibbles)
    assert (machine.kind, machine.pe.arithmetic(machine.activations)) == ("nibbles", None)
    assert machine.steps(machine.spec("nf4")) == 1
    assert machine.steps(machine.spec("int8:fp16")) == 2
    peaks = machine.hardware_spec().peak_weights
    assert peaks is not None
    assert {name: peaks["nf4"].value / peak.value for name, peak in peaks.items()} == {
        "int4": 1, "int8": 2, "nf4": 1,
    }  # fmt: skip
    results = {}
    for weights in ("int4", "int8"):
        formats = machine_formats(machine, weights)
        work = roofline.workload("smollm2-135m", "prefill", 1, 64, **formats)
        bounds = roofline.analyze(work, machine.hardware_spec()).ops
        results[weights] = simulate(work, machine)
        found = iter(results[weights].ops)
        for op, bound in zip(work.ops, bounds, strict=True):
            cycles = sum(next(found).cycles for _ in op.unfused())
            assert cycles / 1e9 >= bound.time_s * (1 - 1e-12)
    four, eight = ({op.name: op for op in r.ops} for r in results.values())
    path = "model.layers.3.mlp.up_proj"
    # Twice the clocks on the same tiles; ports of other widths may call for other tiles.
    assert 1.5 < eight[path].compute_cycles / four[path].compute_cycles < 2.5


def test_faults_of_an_own_element_name_file_and_key(nibbles: Path) -> None:
    text = nibbles.read_text()
    for old, new, message in (
        ("overhead_bits = 3", "overhead_bits = -1", r"pe\.overhead_bits = -1: at least 0"),
        ("overhead_bits = 3", "exponent_bits = 3", r"pe\.exponent_bits: no such key"),
        ("overhead_bits = 3", "overhead_bits = 'x'", r"pe\.overhead_bits: Input should be"),
        ('"nf4"]', '"fp16"]', r"weights: nibbles cannot multiply 'fp16'"),
        ('"nibbles"', '"nibble"', r"kind: unknown element kind 'nibble' \(nearest: nibbles"),
    ):
        assert old in text
        nibbles.write_text(text.replace(old, new))
        with pytest.raises(RequestError, match=rf"nibbles\.toml: {message}"):
            load_accelerator(nibbles)


def test_built_in_elements_answer_as_the_protocol_asks() -> None:
    elements: list[Element] = [BitSerial(4, *FOUR), MultiplyAccumulate(1, *FOUR)]
    for element in elements:
        assert isinstance(element, ProcessingElement)
        assert element.faults(FP16, 128) == []
