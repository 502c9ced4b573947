"""quant.compat.olive: bit for bit the released OliVe quantizer, on every golden case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quant.common.errors import RequestError
from quant.compat import olive
from quant.formats.elements import F32

GOLDEN = Path(__file__).parents[2] / "golden/datatypes.npz"


def golden(*keys: str) -> list[F32]:
    with np.load(GOLDEN) as data:
        return [data[key] for key in keys]


def keys(prefix: str, suffix: str = "") -> list[str]:
    with np.load(GOLDEN) as data:
        return [key for key in data.files if key.startswith(prefix) and key.endswith(suffix)]


TABLES, CASES = keys("table|olive|"), keys("public|olive|", "|deq")


def test_the_golden_file_holds_all_cases() -> None:
    assert len(TABLES) == 3 * 4 * 2
    assert len(CASES) == 4 * 4


@pytest.mark.parametrize("key", TABLES)
def test_grids_equal_the_release(key: str) -> None:
    name = key.split("|")[2]
    kind, bits, signed = name[:-3], int(name[-3]), name[-1] == "s"
    (wanted,) = golden(key)
    outliers = kind == "outlier"
    got = olive.outlier_grid(bits, signed) if outliers else olive.grid(kind, bits, signed)
    assert got.dtype == np.float32
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("key", CASES)
def test_quantize_equals_the_release_bit_for_bit(key: str) -> None:
    _, _, name, params, entry, _ = key.split("|")
    low, high = params.removeprefix("perchannel_w").split("-")
    stem = key.removesuffix("deq")
    fields = [stem + field for field in ("deq", "alpha", "grid", "outliers", "mode")]
    weight, deq, alpha, levels, outliers, mode = golden(f"public|in|{entry}|x", *fields)
    types = name[:-1].removeprefix("ant-").split("-")
    got = olive.quantize(weight, types, int(name[-1]), int(low), int(high))
    assert got.mode == str(mode)
    assert np.array_equal(got.grid, levels)
    assert np.array_equal(got.outliers, outliers)
    assert np.array_equal(got.alpha, alpha)
    assert np.array_equal(got.dequantized.view(np.int32), deq.view(np.int32))


def test_pairs_straddle_rows_of_odd_length_and_wrap() -> None:
    weight = np.random.default_rng(1).standard_normal((3, 257)).astype(np.float32)
    weight[0, 256] = 20  # an even place: its partner is the first of the next row
    weight[0, 0] = -30  # the release then takes the last of an odd number as a victim
    weight[1:, [0, 256]] = 1
    got = olive.quantize(weight, ["int"], 4).dequantized
    assert got[0, 256] > 15
    assert got[0, 0] < -20
    assert got[1, 0] == got[0, 1] == got[2, 256] == 0
    assert got[1, 256] > 0.5


def test_of_two_outliers_the_even_one_stays() -> None:
    weight = np.random.default_rng(2).standard_normal((1, 512)).astype(np.float32)
    weight[0, 10:12] = 8, -20
    got = olive.quantize(weight, ["flint"], 4).dequantized
    assert got[0, 10] > 6
    assert got[0, 11] == 0


def test_more_than_six_bits_are_int() -> None:
    weight = np.random.default_rng(3).standard_normal((2, 64)).astype(np.float32)
    got = olive.quantize(weight, ["flint"], 8)
    assert got.mode == "int"
    assert len(got.grid) == 255
    assert len(got.outliers) == 254


@pytest.mark.parametrize(
    ("types", "bits", "low", "high", "said"),
    [
        (["pot"], 4, 75, 150, "known: flint, int"),
        ([], 4, 75, 150, "no types"),
        (["int"], 4, 0, 75, "0 < low < high"),
        (["int"], 2, 75, 150, "2 bits"),
        (["int"], 9, 75, 150, "9 bits"),
    ],
)
def test_wrong_requests_say_what_is_allowed(
    types: list[str], bits: int, low: int, high: int, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        olive.quantize(np.ones((2, 4), np.float32), types, bits, low, high)
    with pytest.raises(RequestError, match="3 to 6"):
        olive.grid("flint", 7)
