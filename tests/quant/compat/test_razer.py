"""quant.compat.razer: bit for bit RaZeR's released quantizers, on every golden case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quant.common.errors import RequestError
from quant.compat import razer
from quant.compat.ant import torch_sum
from quant.formats.elements import F32

GOLDEN = Path(__file__).parents[2] / "golden/datatypes.npz"


def keys(prefix: str) -> list[str]:
    with np.load(GOLDEN) as data:
        return [key for key in data.files if key.startswith(prefix)]


CASES = keys("public|razer|")


def test_the_golden_file_holds_all_cases() -> None:
    assert len(CASES) == 7 * 5
    assert {key.split("|")[2] for key in CASES} == set(razer.GROUP_SIZES)


@pytest.mark.parametrize("key", CASES)
def test_quantize_equals_the_release_bit_for_bit(key: str) -> None:
    _, _, name, params, entry, _ = key.split("|")
    with np.load(GOLDEN) as data:
        weight, wanted = data[f"public|in|{entry}|x"], data[key]
    for group_size in (int(params[1:]), None):
        got = razer.quantize(weight, name, group_size)
        assert got.dtype == wanted.dtype == np.float16
        assert np.array_equal(got.view(np.uint16), wanted.view(np.uint16))


def row(*values: float) -> F32:
    return np.array([values], np.float32)


def test_a_tie_takes_the_lower_level_but_mxfp4_rounds_away_from_zero() -> None:
    weight = row(6, 2.5, -2.5, 0.25, -0.25)
    assert razer.quantize(weight, "fp4", 0).tolist() == [[6, 2, -3, 0, -0.5]]
    assert razer.quantize(weight, "mxfp4", 0).tolist() == [[6, 3, -3, 0.5, -0.5]]


@pytest.mark.parametrize("special", [5, -5, 8, -8])
@pytest.mark.parametrize("name", ["fp4_razer", "nvfp4_razer"])
def test_each_special_value_is_used_where_it_fits(name: str, special: float) -> None:
    weight = row(0.5, -1, 1.5, 2, -3, 4, 6, -6, special)
    assert np.array_equal(razer.quantize(weight, name, 0), weight)


@pytest.mark.parametrize("sign", [1, -1])
def test_mxfp4_clips_what_a_special_value_takes(sign: int) -> None:
    weight = np.float32(sign) * row(7.9, 0.5, 1, 3, 5.1)
    assert razer.quantize(weight, "mxfp4", 0)[0, 0] == 6 * sign
    assert razer.quantize(weight, "mxfp4_razer", 0)[0, 0] == 8 * sign
    assert razer.quantize(weight[:, 1:], "mxfp4_razer", 0)[0, -1] == 5 * sign


def test_nvfp4_scales_share_a_factor_of_the_tensor() -> None:
    weight = np.ones((2, 16), np.float32)
    weight[1] = np.float32(1.03)
    got = razer.quantize(weight, "nvfp4")
    assert (got[0] == np.float16(1.03)).all()  # 448 / 1.03 rounds up to 448, the next E4M3 number
    assert np.array_equal(razer.quantize(weight[:1], "nvfp4"), weight[:1])


def test_small_nvfp4_scales_are_subnormal_e4m3() -> None:
    weight = np.full((2, 16), 6 * 448, np.float32)
    weight[1] = 6 * 0.0048  # between two and three steps of 2^-9
    assert np.array_equal(razer.quantize(weight, "nvfp4")[1], np.full(16, 6 * 2 / 512))


def test_the_nvfp4_factor_has_a_floor() -> None:
    weight = np.full((1, 16), 1e-4, np.float32)  # a scale of 166.7e-7, where steps are 16e-7
    assert (razer.quantize(weight, "nvfp4") == np.float16(6 * 160e-7)).all()


def test_means_are_sums_in_the_order_of_torch() -> None:
    errors = np.random.default_rng(4).standard_normal((64, 384)).astype(np.float32)
    squares = errors * errors
    wanted = torch_sum(squares) / np.float32(384)
    assert np.array_equal(razer.mean_square(errors), wanted)
    assert not np.array_equal(wanted, squares.mean(axis=1, dtype=np.float64).astype(np.float32))


def test_groups_run_on_over_rows_as_in_the_release() -> None:
    weight = np.random.default_rng(3).standard_normal((4, 24)).astype(np.float32)
    got = razer.quantize(weight, "mxfp4", 32)
    assert np.array_equal(got.ravel(), razer.quantize(weight.reshape(3, 32), "mxfp4", 32).ravel())


def test_zeros_stay_zeros_but_int_divides_by_its_empty_range() -> None:
    weight = np.zeros((2, 128), np.float32)
    for name in razer.GROUP_SIZES:
        got = razer.quantize(weight, name)
        assert np.isnan(got).all() if name == "int" else not got.any()


@pytest.mark.parametrize(
    ("x", "wanted"), [(130.0, -126), (-129.0, 127), (1500.0, -36), (np.nan, 0), (3e9, 0)]
)
def test_wrap_int8_keeps_the_low_bits(x: float, wanted: int) -> None:
    assert razer.wrap_int8(np.array([x], np.float32))[0] == wanted


def test_floor_log2_is_that_of_float32() -> None:
    below = np.nextafter(np.array([2, 8, 0.125], np.float32), np.float32(0))
    assert razer.floor_log2(below).tolist() == [0, 3, -3]


@pytest.mark.parametrize(
    ("weight", "name", "group_size", "said"),
    [
        (np.ones((2, 64), np.float32), "nvfp", None, "unknown RaZeR format.*nearest: nvfp4"),
        (np.ones((2, 24), np.float32), "mxfp4", None, "group size 32: it must divide 48"),
        (np.ones(64, np.float32), "fp4", 32, r"float32 \(64,\)"),
        (np.ones((2, 64), np.float64), "fp4", 32, "float64"),
    ],
)
def test_wrong_requests_say_what_is_allowed(
    weight: F32, name: str, group_size: int | None, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        razer.quantize(weight, name, group_size)
