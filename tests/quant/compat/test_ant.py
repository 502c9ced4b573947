"""quant.compat.ant: bit for bit the released ANT quantizer, on every golden case."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quant.common.errors import RequestError
from quant.compat import ant
from quant.formats.elements import F32
from quant.formats.flint import flint_levels

GOLDEN = Path(__file__).parents[2] / "golden/datatypes.npz"


def golden(*keys: str) -> list[F32]:
    with np.load(GOLDEN) as data:
        return [data[key] for key in keys]


def keys(prefix: str, suffix: str = "") -> list[str]:
    with np.load(GOLDEN) as data:
        return [key for key in data.files if key.startswith(prefix) and key.endswith(suffix)]


def scan(values: F32, levels: F32) -> F32:
    """The released kernel as it stands: ascending, ``<=``, from 102400."""
    least, found = np.full(values.shape, 102400, np.float32), np.zeros_like(values)
    for level in levels:
        distance = np.abs(values - level)
        near = distance <= least
        least, found = np.where(near, distance, least), np.where(near, level, found)
    return found


TABLES, CASES = keys("table|ant|"), keys("public|ant|", "|deq")


def test_the_golden_file_holds_all_cases() -> None:
    assert len(TABLES) == 5 * 4 * 2
    assert len(CASES) == 11 * 4


@pytest.mark.parametrize("key", TABLES)
def test_grids_equal_the_release(key: str) -> None:
    name = key.split("|")[2]
    kind, bits, signed = name[:-3], int(name[-3]), name[-1] == "s"
    (wanted,) = golden(key)
    got = ant.grid(kind, bits, signed)
    assert got.dtype == np.float32
    assert np.array_equal(got, wanted)
    plain = ant.grid(kind, bits, signed, normalized=False)
    assert np.array_equal(plain, np.round(plain))
    np.testing.assert_allclose(plain / plain.max() * 10, wanted, rtol=3e-7)


@pytest.mark.parametrize("key", CASES)
def test_quantize_equals_the_release_bit_for_bit(key: str) -> None:
    _, _, name, params, entry, _ = key.split("|")
    low, high = params.removeprefix("perchannel_w").split("-")
    stem = key.removesuffix("deq")
    fields = [stem + field for field in ("deq", "alpha", "grid", "mode")]
    weight, deq, alpha, levels, mode = golden(f"public|in|{entry}|x", *fields)
    types = name[:-1].removeprefix("ant-").split("-")
    got = ant.quantize(weight, types, int(name[-1]), int(low), int(high))
    assert got.mode == str(mode)
    assert np.array_equal(got.grid, levels)
    assert np.array_equal(got.alpha, alpha)
    assert np.array_equal(got.dequantized.view(np.int32), deq.view(np.int32))


@pytest.mark.parametrize("value_bits", [2, 3, 4, 5, 6])
@pytest.mark.parametrize("signed", [True, False])
def test_flint_codes_mean_the_released_grid(value_bits: int, signed: bool) -> None:
    values = flint_levels(value_bits)
    assert len(set(values)) == len(values) == 2**value_bits
    bits = value_bits + signed
    if bits not in range(3, 7):
        return
    (wanted,) = golden(f"table|ant|flint{bits}_{'s' if signed else 'u'}")
    both = np.array([*values, *(-value for value in values if signed)], np.float32)
    both = np.sort(both) / np.float32(max(values)) * np.float32(10)
    assert np.array_equal(both, wanted)


def test_flint_codes_are_the_papers() -> None:
    fixed = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0)
    assert flint_levels(4) == (*fixed, 64.0, 32.0, 16.0, 24.0, 8.0, 10.0, 12.0, 14.0)
    for bits in (0, 9):
        with pytest.raises(RequestError, match="1 to 8"):
            flint_levels(bits)


@given(
    hnp.arrays(np.float32, 40, elements=st.floats(-200000, 200000, width=32)),
    st.sampled_from(ant.KINDS[:4]),
    st.integers(3, 6),
)
@settings(max_examples=60, deadline=None)
def test_nearest_is_the_kernels_scan(values: F32, kind: str, bits: int) -> None:
    levels = ant.grid(kind, bits)
    middles = (levels[1:] + levels[:-1]) / np.float32(2)
    near = [np.nextafter(middles, np.float32(side * np.inf)) for side in (-1, 1)]
    probes = np.concatenate([values, values / np.float32(2e4), levels, middles, *near])
    probes = np.concatenate([probes, np.array([np.nan, np.inf, -np.inf], np.float32)])
    with np.errstate(invalid="ignore"):
        assert np.array_equal(ant.nearest(probes, levels), scan(probes, levels))


def test_a_tie_goes_up_and_the_unreachable_is_zero() -> None:
    levels = np.array([-2, 0, 2], np.float32)
    values = np.array([-1, 1, 102402, 102403, -102403, np.nan], np.float32)
    assert ant.nearest(values, levels).tolist() == [0, 2, 2, 0, 0, 0]


@pytest.mark.parametrize("n", [1, 3, 7, 8, 9, 31, 32, 63, 255, 256, 257, 513, 1000, 4097, 20000])
@pytest.mark.parametrize("rows", [1, 3, 16])
def test_sums_are_torchs(rows: int, n: int) -> None:
    import torch

    x = np.random.default_rng(n).standard_normal((rows, n)).astype(np.float32)
    assert np.array_equal(ant.torch_sum(x), torch.from_numpy(x).sum(-1).numpy())
    assert np.array_equal(ant.torch_sum(x) / np.float32(n), torch.from_numpy(x).mean(-1).numpy())


def test_of_two_equal_grids_the_networks_choice_wins() -> None:
    assert ant.first_of([np.float32(x) for x in (5, 4, 1, 1)]) == 3
    assert ant.first_of([np.float32(x) for x in (5, 1, 1, 1)]) == 1
    assert ant.first_of([np.float32(x) for x in (1, 1)]) == 0


def test_the_releases_faults_are_kept() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 32)).astype(np.float32)
    weight[1] = 0
    got = ant.quantize(weight, ["int"], 4)
    assert np.isnan(got.dequantized[1]).all()  # 0/0
    assert got.alpha[1] == 0
    eight = ant.quantize(weight[:1], ["flint"], 8)
    assert eight.mode == "int"
    assert eight.alpha >= np.abs(weight[0]).max() * np.float32(0.95)
    huge = ant.quantize(weight[:1] * np.float32(1e7), ["int"], 3)
    assert huge.alpha == np.abs(weight[0] * np.float32(1e7)).max()  # no error is below 1e10
    # float is tried as well when only float1 is named; float2 is tried as float1.
    exact = ant.grid("float", 5)[None]
    assert ant.quantize(exact, ["float1", "int"], 5).mode == "float"
    exact = ant.grid("float1", 5)[None]
    got = ant.quantize(exact, ["float2", "pot"], 5)
    assert got.mode == "float2"
    assert np.array_equal(got.grid, ant.grid("float2", 5))


@pytest.mark.parametrize(
    ("types", "bits", "low", "high", "said"),
    [
        (["flont"], 4, 75, 150, "flint"),
        ([], 4, 75, 150, "no types"),
        (["int"], 4, 150, 75, "150 to 75"),
        (["int"], 1, 75, 150, "1 bits"),
        (["int"], 9, 75, 150, "9 bits"),
        (["int", "float4"], 4, 75, 150, "float4"),
        (["flint"], 2, 75, 150, "3 to 6"),
    ],
)
def test_wrong_requests_say_what_is_allowed(
    types: list[str], bits: int, low: int, high: int, said: str
) -> None:
    with pytest.raises(RequestError, match=said):
        ant.quantize(np.ones((2, 4), np.float32), types, bits, low, high)


@pytest.mark.parametrize("shape", [(4,), (0, 4), (2, 2, 2)])
def test_only_matrices_are_taken(shape: tuple[int, ...]) -> None:
    with pytest.raises(RequestError, match="shape"):
        ant.quantize(np.ones(shape, np.float32), ["int"], 4)
