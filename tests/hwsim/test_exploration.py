"""Design spaces and sweeps: axes, limits, fronts; a sweep says what a simulation says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import hwsim
import roofline
from hwsim.exploration.axes import changed, keys_of
from hwsim.exploration.limits import parse_area, parse_limit
from hwsim.exploration.pareto import pareto_front
from hwsim.exploration.space import Derived, DesignSpace
from hwsim.exploration.sweep import sweep
from hwsim.machines.area import area_um2
from hwsim.machines.load import accelerator_names, load_accelerator
from hwsim.report.designs import designs_report
from hwsim.simulation.simulate import machine_formats, simulate
from quant.common.errors import RequestError
from roofline.workloads.workload import Scenario, Workload

ROOT = Path(__file__).parents[2]


def works(model: str = "smollm2-135m", base: str = "bitmod") -> dict[str, Workload]:
    formats = machine_formats(load_accelerator(base))
    return {
        "prefill": roofline.workload(model, "prefill", 1, 64, **formats),
        "decode": roofline.workload(model, "decode", 1, 64, **formats),
    }


AXES: dict[str, list[Any]] = {
    "tiles": [1, 5, 13],
    "tile.rows": [4, 16],
    "pe.lanes": [4, 8],
    "weight_buffer.bytes": [1 << 16, 1 << 19],
    "dram": ["lpddr5*2", "hbm3*8"],
    "clock": [5e8, 1e9],
    "weights": ["bitmod3", "int8"],
}


@pytest.mark.parametrize("model", ["smollm2-135m", "mixtral-8x7b-v0.1"])
def test_a_sweep_is_its_simulations(model: str) -> None:
    named = works(model)
    found = sweep(DesignSpace("bitmod", AXES), named, chunk=50)
    frame = found.to_frame()
    assert len(frame) == found.designs == len(DesignSpace("bitmod", AXES)) == 192
    rng = np.random.default_rng(0)
    for row in frame.iloc[rng.permutation(len(frame))[:25]].to_dict("records"):
        machine = changed(
            load_accelerator("bitmod"), {axis: row[axis] for axis in AXES if axis != "weights"}
        )
        for name, work in named.items():
            result = simulate(work.with_weights({"*": machine.spec(row["weights"])}), machine)
            assert row[f"{name}.time_s"] == pytest.approx(result.time_s, rel=1e-6)
            assert row[f"{name}.energy_j"] == pytest.approx(result.energy_j, rel=1e-9)
        assert row["area_um2"] == pytest.approx(area_um2(machine)["total"], rel=1e-12)
        assert row["time_s"] == pytest.approx(row["prefill.time_s"] + row["decode.time_s"])
        assert row["power_w"] == pytest.approx(row["energy_j"] / row["time_s"])


def test_a_generation_is_swept_as_it_is_simulated() -> None:
    machine = load_accelerator("bitmod")
    work = roofline.scenario("smollm2-135m", 40, 30, 2, **machine_formats(machine))
    (row,) = sweep(DesignSpace("bitmod"), work).to_frame().to_dict("records")
    assert row["time_s"] == pytest.approx(simulate(work, machine).time_s, rel=1e-6)
    assert row["energy_j"] == pytest.approx(simulate(work, machine).energy_j, rel=1e-9)


def test_the_growth_of_a_cache_is_the_sum_of_its_steps() -> None:
    machine = load_accelerator("bitmod")
    whole = roofline.scenario("llama-2-7b", 100, 20, 1, **machine_formats(machine))
    steps = [simulate(Scenario((part,)), machine).cycles for part in whole.parts]
    assert simulate(whole, machine).cycles == sum(steps)
    assert steps[1:] == sorted(steps[1:])


def test_weights_of_works_and_objectives() -> None:
    named, space = works(), DesignSpace("bitmod", {"tiles": [4, 13]})
    both = sweep(space, named, weights={"prefill": 0.0, "decode": 10.0}, objectives=["time_s"])
    frame = both.to_frame()
    np.testing.assert_allclose(frame["time_s"], 10 * frame["decode.time_s"])
    assert list(both.front()["tiles"]) == [13]
    with pytest.raises(RequestError, match="unknown work 'decoding'"):
        sweep(space, named, weights={"decoding": 1.0})
    with pytest.raises(RequestError, match="nearest: time_s"):
        sweep(space, named, objectives=("times",))
    with pytest.raises(RequestError, match="at least one is needed"):
        sweep(space, {})


def test_what_is_derived_follows_from_the_axes() -> None:
    space = DesignSpace(
        "bitmod",
        {"tiles": [4, 8]},
        {"weight_buffer.port_bits": lambda at: at["tiles"] * 128, "vector": lambda at: 32},
    )
    frame = sweep(space, works()).to_frame()
    assert list(frame["weight_buffer.port_bits"]) == [512, 1024]
    for row in frame.to_dict("records"):
        at = {key: row[key] for key in ("tiles", "weight_buffer.port_bits", "vector")}
        machine = changed(load_accelerator("bitmod"), at)
        assert row["area_um2"] == pytest.approx(area_um2(machine)["total"])
        assert row["prefill.time_s"] == pytest.approx(simulate(works()["prefill"], machine).time_s)
    with pytest.raises(RequestError, match=r"tiles\.count: an axis already"):
        DesignSpace("bitmod", {"tiles": [4]}, {"tiles": lambda at: 3})


def test_axes_are_set_in_one_order_whatever_theirs() -> None:
    axes: dict[str, list[Any]] = {"pe.area_um2": [1000.0], "pe.lanes": [8]}
    axes |= {"dram.channels": [1, 4], "dram": ["hbm3"]}
    frames = [
        sweep(DesignSpace("bitmod", dict(turn)), works()).to_frame()
        for turn in ([*axes.items()], [*axes.items()][::-1])
    ]
    for frame in frames:
        assert set(frame["area_um2"]) == {
            area_um2(changed(load_accelerator("bitmod"), {"pe.lanes": 8, "pe.area_um2": 1000}))[
                "total"
            ]
        }
        one, four = (frame[frame["dram.channels"] == count]["time_s"].item() for count in (1, 4))
        assert four < one
    assert set(frames[0]["time_s"]) == set(frames[1]["time_s"])


def test_values_that_make_no_machine_together_are_left_out() -> None:
    axes = {
        "weight_buffer.banks": [1, 64],
        "weight_buffer.port_bits": [64, 8192],
        "weight_buffer.bytes": [1 << 20],
    }
    found = sweep(DesignSpace("bitmod", axes), works())
    assert found.misfits["no machine"] == 3 - len(found.to_frame()) + 1
    assert 0 < len(found.to_frame()) < 4
    assert "make no machine together" in designs_report(found, REQUEST).text("table")


@pytest.mark.parametrize(
    ("derive", "message"),
    [
        (lambda at: at["no"], "KeyError"),
        (lambda at: at["tiles"][:1], r"\(1,\) values for 2 designs"),
        (lambda at: 1 / 0, "ZeroDivisionError"),
        (lambda at: at["tiles"].reshape(1, -1), r"\(1, 2\) values"),
    ],
)
def test_a_derived_key_that_fails_is_named(derive: Derived, message: str) -> None:
    space = DesignSpace("bitmod", {"tiles": [4, 8]}, {"vector": derive})
    with pytest.raises(RequestError, match=f"derive: vector: .*{message}"):
        sweep(space, works())
    with pytest.raises(RequestError, match="unknown axis 'nope'"):
        DesignSpace("bitmod", {"tiles": [4]}, {"nope": derive})


def test_limits_leave_designs_out_and_say_how_many() -> None:
    space = DesignSpace("bitmod", {"tiles": list(range(1, 31))})
    fp16 = area_um2(load_accelerator("fp16"))["total"]
    plain = sweep(space, works()).to_frame()
    near = plain[abs(plain["area_um2"] / fp16 - 1) <= 0.05]
    most = float(near["power_w"].median())
    limits = [hwsim.iso_area("fp16", 0.05), hwsim.limit("power_w", max=most)]
    found = sweep(space, works(), limits=limits)
    frame = found.to_frame()
    assert 0 < len(frame) < len(near) < len(plain) == 30
    assert list(frame["tiles"]) == list(near[near["power_w"] <= most]["tiles"])
    assert len(frame) + sum(found.limited.values()) == 30
    none = sweep(space, works(), limits=[hwsim.limit("area_um2", max=1)])
    assert (len(none.to_frame()), len(none.front())) == (0, 0)
    texts = DesignSpace("bitmod", {"weights": ["bitmod3"]})
    with pytest.raises(RequestError, match="limit weights: a column of texts"):
        sweep(texts, works(), limits=[hwsim.limit("weights", max=3)])
    with pytest.raises(RequestError, match="unknown column 'watts'"):
        sweep(space, works(), limits=[hwsim.limit("watts", max=3)])


@pytest.mark.parametrize(
    ("text", "message"),
    [("area", "COLUMN<=NUMBER"), ("area<=x", "COLUMN<=NUMBER"), ("a<=nan", "finite number")],
)
def test_limits_that_are_none(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_limit(text)
    with pytest.raises(RequestError, match="MACHINE:SHARE"):
        parse_area("fp16:x")
    with pytest.raises(RequestError, match="leave nothing or everything"):
        hwsim.limit("area_um2", min=2, max=1)


def test_designs_that_no_buffer_serves_are_counted() -> None:
    axes = {
        "weight_buffer.bytes": [512, 1 << 19],
        "weight_buffer.banks": [1],
        "weight_buffer.port_bits": [64],
    }
    found = sweep(DesignSpace("bitmod", axes), works())
    assert found.misfits == {"weight_buffer": 1, "activation_buffer": 0, "no machine": 0}
    assert list(found.to_frame()["weight_buffer.bytes"]) == [1 << 19]
    assert "1 designs left out: the weight_buffer" in designs_report(found, REQUEST).text("table")


REQUEST = {"model": "smollm2-135m", "prompt": 64, "generate": 1, "batch": 1}


def test_the_plain_rule_is_never_faster_than_the_search() -> None:
    space = DesignSpace(
        "bitmod", {"tiles": [1, 3, 8, 13], "activation_buffer.bytes": [1 << 16, 1 << 18]}
    )
    best, rule = (sweep(space, works(), mapping=how).to_frame() for how in ("best", "rule"))
    assert (best["time_s"] <= rule["time_s"] * (1 + 1e-9)).all()


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tiles": [1e12]}, "an integer is needed"),
    ({"tiles": [0, -3]}, r"tiles = 0: .*; tiles = -3: "),
    ({"tile.rows": [65]}, "at most 64 of a bit-serial element"),
    ({"dram": ["lpddr6"]}, "unknown dram type 'lpddr6'"),
    ({"dram": ["lpddr5*x"]}, r"TYPE or TYPE\*CHANNELS"),
    ({"dram.channels": [2]}, "the memory has no type"),
    ({"dram.bytes_per_s": [0]}, r"dram\.bytes_per_s = 0\.0: above 0"),
    ({"pe.lane": [4]}, "nearest: pe.lanes"),
    ({"weights": ["nf4"]}, "bitmod cannot run 'nf4'"),
    ({"weight_buffer.bytes": [1]}, "8 banks of 0.125 bytes"),
    ({"clock": [float("nan")]}, "a finite number is needed"),
    ({"tiles": []}, "at least one value"),
    ({"pe": [1]}, "unknown axis 'pe'"),
    ({"sharing": ["any"]}, "unknown axis 'sharing'"),
    ({"tiles.sharing": ["some"]}, "any, outputs, tokens is allowed"),
    ({"tiles": [4], "tiles.count": [8]}, "tiles.count: an axis already"),
    ({"group_size": [64]}, "unknown axis 'group_size'"),
    ({"pe.digit_bits": [8]}, "unknown axis 'pe.digit_bits'"),
    ({"dram": ["lpddr5*²"]}, r"TYPE or TYPE\*CHANNELS"),
    ({"dram": ["lpddr5*" + "9" * 5000]}, r"TYPE or TYPE\*CHANNELS"),
    ({"dram.bytes_per_s": [1e30]}, "above 0 and at most 1e"),
]


@pytest.mark.parametrize(("axes", "message"), WRONG, ids=lambda value: str(value)[:30])
def test_spaces_that_are_none(axes: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        DesignSpace("bitmod", axes)


def test_every_key_of_a_machine_may_be_an_axis() -> None:
    for name in accelerator_names():
        machine = load_accelerator(name)
        for key in keys_of(machine):
            if key in ("dram", "weights", "dram.channels", "tiles", "tile.rows", "tile.columns"):
                continue
            value: Any = machine
            for part in {"vector": "vector.lanes", "clock": "clock_hz"}.get(key, key).split("."):
                value = getattr(value, part)
            same = changed(machine, {key: getattr(value, "value", value)})
            assert area_um2(same) == area_um2(machine), key


def test_a_space_file_names_its_faults(tmp_path: Path) -> None:
    path = tmp_path / "space.toml"
    for text, message in (
        ("[axes]\ntiles = [-1]\n", r"space\.toml: tiles = -1"),
        ("axis = 1\n", r"space\.toml: axis: no such key"),
        ("axes = 3\n", r"space\.toml: axes: a table is needed"),
        ("[axes]\ntiles = { pow = [1, 2] }\n", r"unknown axis 'tiles\.pow'"),
        ("[axes]\ntiles = { pow2 = 3 }\n", r"a list, \{ log"),
        ("[axes]\ntiles = { pow2 = [1, 2, 3] }\n", "pow2 takes other numbers"),
    ):
        path.write_text(text)
        with pytest.raises(RequestError, match=message):
            DesignSpace.load(path)
    path.write_text(
        "[axes]\ntiles = { pow2 = [1, 9] }\ntile.rows = [4]\nclock = { log = [1e8, 1e9, 3] }"
    )
    assert DesignSpace.load(path).axes == {
        "tiles": (1, 2, 4, 8), "tile.rows": (4,), "clock": (1e8, 316227766.017, 1e9),
    }  # fmt: skip


def beaten(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which points another dominates, pair by pair."""
    no_worse = (points[:, None] <= points[None]).all(axis=2)
    return np.asarray((no_worse & (points[:, None] < points[None]).any(axis=2)).any(axis=0))


@pytest.mark.parametrize("objectives", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("levels", [2, 7, 1 << 40])
def test_pareto_front(objectives: int, levels: int) -> None:
    rng = np.random.default_rng(objectives)
    for count in (0, 1, 5, 49, 700, 3000):
        points = np.floor(rng.random((count, objectives)) * levels)
        assert (pareto_front(points) == ~beaten(points)).all()
    front = pareto_front(np.array([[1, 3], [2, 2], [3, 1], [3, 3], [2, 2], [0, np.nan]]))
    assert front.tolist() == [True, True, True, False, True, False]
