"""Every device of the reference is there, each number with its source."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import roofline
from quant.common.errors import RequestError
from quant.formats.spec import parse_spec
from roofline.devices.device import FOLDER, load_hardware

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden/hw_specs.json").read_text()
)["devices"]
PEAKS = ("fp32", "tf32", "fp16", "bf16", "fp8", "fp6", "fp4", "int8", "int4")
GOOD = """name = "mine"
[peak_ops.fp16]
value = 1e12
source = "guess"
[memory_bandwidth]
value = 1e11
source = "guess"
[memory_capacity]
value = 1e9
source = "guess"
"""


@pytest.mark.parametrize("key", GOLDEN)
def test_numbers_equal_the_reference(key: str) -> None:
    theirs, ours = GOLDEN[key], load_hardware(key)
    peaks = {k: v for k, v in theirs["peak_dense_TFLOPS"].items() if k in PEAKS}
    assert {k: v.value for k, v in ours.peak_ops.items()} == pytest.approx(
        {k: v * 1e12 for k, v in peaks.items()}
    )
    assert ours.memory_bandwidth.value == pytest.approx(theirs["memory"]["bandwidth_GBs"] * 1e9)
    assert ours.memory_capacity.value == pytest.approx(theirs["memory"]["capacity_GB"] * 1e9)
    power = theirs.get("tdp_W")
    assert (ours.power.value if ours.power else None) == power
    link = theirs["interconnect"].get("per_direction_GBs")
    if link:
        assert ours.link is not None
        assert ours.link.bandwidth.value == pytest.approx(link * 1e9)
    if "l2_MB" in theirs["onchip"]:
        sizes = {level.name: level.capacity.value for level in ours.levels}
        assert sizes["L2"] == pytest.approx(theirs["onchip"]["l2_MB"] * 1e6)


@pytest.mark.parametrize("key", GOLDEN)
def test_what_no_source_names_is_flagged(key: str) -> None:
    seen = GOLDEN[key]["found"]
    spec = load_hardware(key)
    named = " ".join(entry for entries in seen.values() for entry in entries)
    assert spec.memory_bandwidth.from_memory == ("bandwidth" not in named)
    for kind, peak in spec.peak_ops.items():
        assert peak.source
        if peak.from_memory:
            assert peak.source == "from memory"
            assert kind not in named.split()


def test_names_are_spelled_as_people_do() -> None:
    assert load_hardware("NVIDIA_H100_SXM") is load_hardware("h100-sxm")
    assert {load_hardware(key).name for key in GOLDEN} <= set(roofline.hardware_names())


@pytest.mark.parametrize("name", roofline.hardware_names())
def test_a_file_is_called_what_its_device_is_called(name: str) -> None:
    assert load_hardware(name).name == name


def test_a_peak_of_an_unknown_type_is_refused(tmp_path: Path) -> None:
    text = (FOLDER / "h100-sxm.toml").read_text(encoding="utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("[peak_ops.int8]", "[peak_ops.int9]"), encoding="utf-8")
    assert "int9" in path.read_text(encoding="utf-8")
    with pytest.raises(RequestError, match=r"peak_ops: unknown data type 'int9' .*int8"):
        load_hardware(path)


def test_narrow_operands_find_the_narrowest_peak_that_holds_them() -> None:
    f, blackwell, tpu = parse_spec, load_hardware("b200-sxm"), load_hardware("tpu-v5e")
    assert blackwell.peak(f("nvfp4"), f("nvfp4")) == 9e15
    assert blackwell.peak(f("mxfp4"), f("mxfp8-e4m3")) == 4.5e15
    assert blackwell.peak(f("int4"), f("fp16")) == 2.25e15
    assert load_hardware("a100-80g").peak(f("fp8-e4m3"), f("fp8-e4m3")) == 312e12
    assert tpu.peak(f("fp16"), f("fp16")) == 197e12


def test_a_machine_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    ideal = roofline.analyze(roofline.workload("smollm2-135m", "decode"), path)
    assert ideal.hardware.name == "mine"
    assert ideal.time_s > 0


@pytest.mark.parametrize(
    ("old", "new", "messages"),
    [
        ("value = 1e12", "value = -1", ["peak_ops.fp16 = -1"]),
        ("value = 1e11", "value = nan", ["memory_bandwidth = nan"]),
        ("value = 1e9", "value = 'much'", ["memory_capacity.value"]),
        ('name = "mine"', 'name = "mine', ["cannot be read as TOML"]),
        ("[memory_capacity]", "[memory_capcity]", ["memory_capcity: no such key"]),
        ('source = "guess"\n[memory_b', "[memory_b", ["peak_ops.fp16.source"]),
    ],
)
def test_faults_of_a_file(tmp_path: Path, old: str, new: str, messages: list[str]) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD.replace(old, new, 1))
    with pytest.raises(RequestError) as caught:
        load_hardware(path)
    for message in messages:
        assert message in str(caught.value)
    assert "\n" not in str(caught.value)
