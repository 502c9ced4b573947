"""Outlier-victim pairs as codes: they mean what the release computes, and survive a round trip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quant.common.errors import RequestError
from quant.compat import olive as released
from quant.formats.elements import F32
from quant.rounding.layouts import olive

GOLDEN = Path(__file__).parents[1] / "golden/datatypes.npz"
ONE = np.ones((1, 1), np.float32)
# Quarters up to beyond the largest outlier: many exact ties.
LEVELS = st.integers(-4 * 600, 4 * 600).map(lambda k: k / 4)
MATRICES = hnp.arrays(
    np.float32,
    st.tuples(st.integers(1, 4), st.integers(1, 9)),
    elements=st.one_of(LEVELS, st.floats(-700, 700, width=32), st.floats(-40, 40, width=32)),
)
BASES = st.sampled_from(olive.BASES)


def cases() -> list[str]:
    with np.load(GOLDEN) as data:
        found = [key for key in data.files if key.startswith("public|olive|")]
    return [key for key in found if key.endswith("|deq")]


def ones(weight: F32) -> F32:
    return np.ones((len(weight), 1), np.float32)


@pytest.mark.parametrize("key", cases())
def test_codes_mean_what_the_release_computes(key: str) -> None:
    _, _, name, _, entry, _ = key.split("|")
    stem = key.removesuffix("deq")
    with np.load(GOLDEN) as data:
        weight, wanted = data[f"public|in|{entry}|x"], data[key]
        alpha, grid, mode = (data[stem + field] for field in ("alpha", "grid", "mode"))
    base = f"{mode}{name[-1]}"
    scale = alpha / grid.max()
    codes = olive.encode(weight, scale, base)
    assert codes.dtype == np.uint8
    assert codes.shape == weight.shape
    assert codes.max() < 2 ** olive.code_bits(base)
    got = olive.decode(codes, scale, base)
    if entry in ("student3", "outliers"):
        assert (codes == olive.victim_code(base)).any()
    assert np.array_equal(got, wanted)


def test_there_are_golden_cases() -> None:
    assert len(cases()) == 16


@pytest.mark.parametrize("base", olive.BASES)
def test_levels_are_the_released_grids(base: str) -> None:
    kind, bits = base[:-1], olive.code_bits(base)
    normal, outliers = olive.normal_levels(base), olive.outlier_levels(base)
    assert len(normal) == len(outliers) == 2**bits
    assert np.flatnonzero(np.isnan(normal)).tolist() == [olive.victim_code(base)]
    assert np.flatnonzero(np.isnan(outliers)).tolist() == [0, olive.victim_code(base)]
    assert np.array_equal(np.sort(normal[~np.isnan(normal)]), released.grid(kind, bits))
    assert np.array_equal(np.sort(outliers[~np.isnan(outliers)]), released.outlier_grid(bits))
    steps = np.concatenate([normal, outliers]) / np.float32(olive.unit(base))
    steps = steps[~np.isnan(steps)].astype(np.int64)
    assert np.gcd.reduce(steps) == 1
    with pytest.raises(ValueError, match="read-only"):
        normal[0] = 1


def test_a_pair_by_hand() -> None:
    weight = np.array([[8, -50, 100, 1, 47, -64]], np.float32)
    codes = olive.encode(weight, ONE, "int4")
    # 8 = 2*4 dies for -48 = sign, e 0, m 1; 96 = e 1, m 1 kills 1; of two outliers the first.
    assert codes.tolist() == [[8, 0b1001, 0b0011, 8, 0b0001, 8]]
    assert olive.decode(codes, ONE, "int4").tolist() == [[0, -48, 96, 0, 48, 0]]


def test_ties_go_up_but_to_the_outlier() -> None:
    weight = np.array([[2, 0, -2, 0, 38, 0, -38, 0, -56, 0, 56, 0]], np.float32)
    got = olive.decode(olive.encode(weight, ONE, "int4"), ONE, "int4")
    assert got[0, ::2].tolist() == [4, 0, 48, -48, -48, 64]


def test_the_last_of_an_odd_row_is_normal() -> None:
    weight = np.array([[500, 3, 500], [1, 2, -500]], np.float32)
    for base, top in (("int4", 28), ("flint4", 32), ("int8", 31.75)):
        codes = olive.encode(weight, ones(weight), base)
        got = olive.decode(codes, ones(weight), base)
        assert got[:, 2].tolist() == [top, -top]
        assert got[0, 1] == 0


@given(MATRICES, BASES)
@settings(max_examples=150, deadline=None)
def test_every_weight_is_its_nearest_level_or_a_victim(weight: F32, base: str) -> None:
    codes = olive.encode(weight, ones(weight), base)
    got = olive.decode(codes, ones(weight), base)
    normal, outliers = olive.normal_levels(base), olive.outlier_levels(base)
    levels = np.concatenate([normal, outliers])
    levels = levels[~np.isnan(levels)].astype(np.float64)
    even = weight.shape[1] // 2 * 2
    error = np.abs(weight[:, :even].astype(np.float64) - got[:, :even])
    least = np.abs(weight[:, :even, None].astype(np.float64) - levels).min(axis=2)
    victim = codes[:, :even] == olive.victim_code(base)
    assert (error[~victim] == least[~victim]).all()
    assert (got[:, :even][victim] == 0).all()
    # A victim has an outlier beside it, an outlier a victim.
    partner = got[:, :even].reshape(len(weight), -1, 2)[..., ::-1].reshape(victim.shape)
    assert ((np.abs(partner) > 32) == victim).all()


@given(MATRICES, BASES, st.sampled_from([0.0, 0.03, 1.0, 3.7]))
@settings(max_examples=150, deadline=None)
def test_encoding_again_changes_nothing(weight: F32, base: str, size: float) -> None:
    scale = ones(weight) * np.float32(size)
    codes = olive.encode(weight * np.float32(size), scale, base)
    values = olive.decode(codes, scale, base)
    assert np.isfinite(values).all()
    assert np.array_equal(olive.encode(values, scale, base), codes)


@given(MATRICES.filter(lambda weight: weight.size % 2 == 0), BASES)
@settings(max_examples=100, deadline=None)
def test_equals_the_released_forward(weight: F32, base: str) -> None:
    flat = weight.reshape(1, -1)
    normal, outliers = released.grid(base[:-1], int(base[-1])), released.outlier_grid(int(base[-1]))
    alpha = normal[-1:].reshape(1, 1)
    wanted = released._forward(flat, alpha, normal, outliers)
    got = olive.decode(olive.encode(flat, ONE, base), ONE, base)
    # (q - x) + x rounds twice in the release where x is more than twice the largest level.
    np.testing.assert_allclose(got, wanted, rtol=3e-7)


def test_group_scales_and_rows_of_zeros() -> None:
    weight = np.random.default_rng(0).standard_normal((3, 8)).astype(np.float32)
    scale = np.repeat(np.array([[0.1, 0.2], [0, 1], [0, 0]], np.float32), 4, axis=1)
    codes = olive.encode(weight, scale, "flint4")
    got = olive.decode(codes, scale, "flint4")
    for half in (slice(0, 4), slice(4, 8)):
        part = olive.encode(weight[:, half], scale[:, half][:, :1], "flint4")
        assert np.array_equal(part, codes[:, half])
    assert not codes[2].any()
    assert not got[2].any()


def test_a_weight_beyond_all_saturates() -> None:
    weight = np.array([[3e38, 1, -1e30, 1]], np.float32)
    scale = np.array([[1e-30]], np.float32)
    got = olive.decode(olive.encode(weight, scale, "int4"), scale, "int4")
    assert np.array_equal(got, np.array([[384, 0, -384, 0]], np.float32) * scale)


@pytest.mark.parametrize(
    ("codes", "base"),
    [
        ([[16, 0]], "int4"),
        ([[8, 8]], "int4"),
        ([[8, 0]], "flint4"),
        ([[0, 0, 8]], "int4"),
        ([[128, 0]], "int8"),
    ],
)
def test_codes_without_a_meaning_are_refused(codes: list[list[int]], base: str) -> None:
    with pytest.raises(RequestError, match="code"):
        olive.decode(np.array(codes, np.uint8), ONE, base)


def test_wrong_requests_say_what_is_allowed() -> None:
    weight = np.ones((2, 4), np.float32)
    with pytest.raises(RequestError, match="int4"):
        olive.encode(weight, ones(weight), "int5")
    with pytest.raises(RequestError, match="scale"):
        olive.encode(weight, ONE, "int4")
    with pytest.raises(RequestError, match="finite"):
        olive.encode(weight * np.float32(np.nan), ones(weight), "int4")
    for wrong in (-1, np.inf, np.nan):
        with pytest.raises(RequestError, match="scale"):
            olive.encode(weight, ones(weight) * np.float32(wrong), "int4")
    with pytest.raises(RequestError, match="2 to 8"):
        olive.abfloat_levels(1)
