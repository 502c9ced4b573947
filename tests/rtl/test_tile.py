"""The tile in lock-step with its clock-by-clock model, for every kind of machine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hwsim.pe.activations import activation_format
from hwsim.pe.terms import pe_formats
from hwsim.tile.clocks import clocks
from hwsim.tile.model import TileModel
from tests.rtl.simulator import ARRAY, PACKAGES, PE, build, run
from tests.rtl.tile_cases import Case, case_of

QUICK, MORE, LONG = 4_000, 12_000, 100_000
"""Clocks: of the quick tests, of the slow ones, of `python -m tests.verification`."""
NARROW = pe_formats(2)
SMALL = {"rows": 2, "columns": 2}
CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "default": {"tile": SMALL, "formats": NARROW},
    "published": {"tile": {**SMALL, "arithmetic": {"accumulator_bits": 14}}, "formats": NARROW},
    "bit-serial": {"tile": {**SMALL, "digit_bits": 1}, "formats": ["bitmod3", "int4-asym"]},
    "parallel": {
        "tile": {"rows": 4, "columns": 1, "digit_bits": 8},
        "formats": ["nvfp4", "mxfp4", "int8-asym", "bitmod4"],
    },
    "skip": {"tile": {**SMALL, "skip_zero_steps": True}, "formats": NARROW},
    "one-pe": {
        "tile": {"rows": 1, "columns": 1, "skip_zero_steps": True, "digit_bits": 8},
        "formats": ["bitmod3", "int8", "int4-asym"],
    },
    "wide-terms": {
        "tile": {**SMALL, "arithmetic": {"exponent_bits": 5}},
        "formats": ["fp8-e4m3", "fp8-e5m2", "mxfp8-e4m3", "pot6", "flint5", "fp6-e3m2", "bitmod4"],
    },
    "bf16": {"tile": {**SMALL, "arithmetic": {"activation": "bf16"}}, "formats": NARROW},
    "fp8-e4m3": {
        "tile": {**SMALL, "arithmetic": {"activation": "fp8-e4m3", "guard_bits": 0}},
        "formats": NARROW,
    },
    "fp8-e5m2": {
        "tile": {"rows": 1, "columns": 3, "arithmetic": {"activation": "fp8-e5m2", "lanes": 3}},
        "formats": NARROW,
    },
    "int8": {
        "tile": {**SMALL, "arithmetic": {"activation": "int8", "lanes": 8}},
        "formats": NARROW,
    },
    "sixteen-lanes": {
        "tile": {"rows": 3, "columns": 2, "skip_zero_steps": True, "arithmetic": {"lanes": 16}},
        "formats": NARROW,
    },
}
pytestmark = pytest.mark.rtl


def parameters(tile: dict[str, Any]) -> dict[str, int | str]:
    """A tile's settings as parameters of the module."""
    names = {
        "rows": "Rows",
        "columns": "Columns",
        "digit_bits": "DigitBits",
        "skip_zero_steps": "SkipZeroSteps",
        "lanes": "Lanes",
        "guard_bits": "GuardBits",
        "accumulator_bits": "AccumulatorBits",
        "exponent_bits": "ExponentBits",
    }
    settings = {**tile, **tile.get("arithmetic", {})}
    found: dict[str, int | str] = {
        names[key]: int(value) for key, value in settings.items() if key in names
    }
    # Sized, since the parameter is an enumeration of three bits.
    found["Activation"] = f"3'd{activation_format(settings.get('activation', 'fp16')).id}"
    found["MaxBlocks"] = -(-128 // settings.get("lanes", 4))
    return found


def lock_step(name: str, count: int, folder: Path) -> None:
    """Build a configuration and run its cases for at least ``count`` clocks."""
    settings = {**CONFIGURATIONS[name], "first_seed": 0, "clocks": count}
    build("tile", [*PACKAGES, *PE, *ARRAY], folder, parameters(settings["tile"]))
    environment = {"TILE_BENCH": json.dumps(settings)}
    assert run("tile", "tests.rtl.bench_tile", folder, environment) == (1, 0)


@pytest.mark.parametrize("name", ["default", "published", "skip", "wide-terms"])
def test_every_clock_equals_the_model(name: str, tmp_path: Path) -> None:
    lock_step(name, QUICK, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_many_clocks_equal_the_model(name: str, tmp_path: Path) -> None:
    lock_step(name, MORE, tmp_path)


def free_run(case: Case) -> int:
    """Clocks of the model when nothing stalls from outside."""
    model = TileModel(case.packets, case.weight, case.tile)
    count, left = 0, len(case.results)
    beats = [
        sum(len(packet.weights) for packet in case.packets),
        sum(len(packet.words) for packet in case.packets),
    ]
    while left:
        shown = model.handshakes()
        left -= shown.result_valid
        offers = beats[0] > 0, beats[1] > 0
        model.clock(*offers, True)
        beats[0] -= offers[0] and shown.weight_ready
        beats[1] -= offers[1] and shown.act_ready
        count += 1
    return count


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_the_closed_form_of_the_clocks_equals_the_model(name: str) -> None:
    settings = CONFIGURATIONS[name]
    for seed in range(40):
        case = case_of(settings["tile"], settings["formats"], seed)
        assert clocks(case.packets, case.weight, case.tile) == free_run(case), seed
