"""Every format of the registry: round trips, nearest levels, symmetry, storage, user grids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import quant
from quant.common.errors import RequestError
from quant.formats.grid import grid_of
from quant.formats.registry import FORMATS
from quant.formats.spec import parse_spec
from quant.rounding.fit import fit
from quant.tensors.quantize import encode

QUANTIZED = [name for name, entry in FORMATS.items() if not entry.is_plain]
GRIDS = [name for name in QUANTIZED if FORMATS[name].layout.is_grid]
SEEDS = st.integers(0, 2**32 - 1)


def heavy(seed: int, shape: tuple[int, int] = (5, 150)) -> NDArray[np.float32]:
    return (np.random.default_rng(seed).standard_t(4, shape) * 0.05).astype(np.float32)


@pytest.mark.parametrize("name", QUANTIZED)
def test_codes_are_the_weights(name: str) -> None:
    """Decoding is a function of the stored arrays alone, finite, and near the weights."""
    weight = heavy(0)
    qt = quant.quantize(weight, name)
    decoded = qt.dequantize()
    assert decoded.shape == weight.shape
    assert np.isfinite(decoded).all()
    assert qt.codes.shape[1] == -(-150 * qt.spec.format.element_bits // 8)
    power = np.square(weight).sum()
    assert np.square(decoded - weight).sum() < power * (1.001 if name.startswith("int1") else 0.8)


@pytest.mark.parametrize("name", GRIDS)
@settings(max_examples=8, deadline=None)
@given(seed=SEEDS)
def test_nearest_level_of_the_chosen_table(name: str, seed: int) -> None:
    weight = heavy(seed, (3, 70))
    qt = quant.quantize(weight, name)
    grid, size = grid_of(qt.spec.format, qt.spec.scale_rule), min(qt.spec.group_size, 70)
    scales, zeros = (np.repeat(a, size, 1)[:, :70] for a in (qt.group_scales(), qt.group_zeros()))
    tables = np.repeat(qt.group_selectors(), size, 1)[:, :70]
    levels = (grid.levels[tables] - zeros[..., None]) * scales[..., None]
    best = np.abs(levels - weight[..., None]).min(axis=-1)
    error = np.abs(qt.dequantize() - weight)
    assert (error <= best * (1 + 1e-5) + 1e-7).all()


@pytest.mark.parametrize("name", [n for n in GRIDS if not FORMATS[n].is_asymmetric])
def test_rounding_again_with_the_same_parameters_changes_nothing(name: str) -> None:
    weight = heavy(1)
    spec = parse_spec(name)
    found = fit(weight, spec)
    first = encode(weight, spec, found).dequantize()
    assert np.array_equal(encode(first, spec, found).dequantize(), first)


@pytest.mark.parametrize("name", GRIDS)
def test_rounding_is_monotone(name: str) -> None:
    spec = parse_spec(name)
    weight = np.sort(heavy(2, (4, min(spec.group_size, 128))), axis=1)
    assert (np.diff(quant.quantize(weight, spec).dequantize(), axis=1) >= 0).all()


@pytest.mark.parametrize(
    "name",
    [n for n in GRIDS if n not in {"int1", "binary"} and FORMATS[n].candidates == 1
     and np.array_equal(np.sort(-grid_of(FORMATS[n]).levels[0]), grid_of(FORMATS[n]).levels[0])],
)  # fmt: skip
def test_sign_symmetry(name: str) -> None:
    weight = heavy(3)
    np.testing.assert_array_equal(
        quant.quantize(-weight, name).dequantize(), -quant.quantize(weight, name).dequantize()
    )


@pytest.mark.parametrize("name", [name for name in QUANTIZED if name != "int1"])
@pytest.mark.parametrize("value", [0.0, 0.25, 1e-40])
def test_constant_and_subnormal_groups(name: str, value: float) -> None:
    decoded = quant.quantize(np.full((2, 130), value, np.float32), name).dequantize()
    assert np.isfinite(decoded).all()
    # A constant is off by half a step at most; in fp16 a step is no less than 6e-8.
    assert np.abs(decoded - np.float32(value)).max() <= max(0.6 * value, 1e-6 if value else 0)


@pytest.mark.parametrize("name", QUANTIZED)
def test_one_element_and_ragged_groups(name: str) -> None:
    for columns in (1, 2, 17, 33, 129):
        weight = heavy(columns, (2, columns))
        qt = quant.quantize(weight, name)
        assert qt.dequantize().shape == weight.shape
        assert qt.effective_bits > qt.spec.format.element_bits


@pytest.mark.parametrize("rule", ["full-range", "no-clip"])
def test_symmetric_rules_use_the_lowest_code(rule: str) -> None:
    weight = np.array([[-7.5, 0.5, 0.1, 0.0]], np.float32)
    qt = quant.quantize(weight, f"int4:{rule}", scale="fp32")
    assert qt.unpack_codes()[0, 0] == 8
    assert quant.quantize(weight, "int4", scale="fp32").unpack_codes()[0, 0] == 9


def test_zero_rules_of_an_all_positive_group() -> None:
    weight = np.linspace(1, 2, 16, dtype=np.float32)[None]
    clamped = quant.quantize(weight, "int4-asym:minmax", scale="fp32").dequantize()
    with_zero = quant.quantize(weight, "int4-asym", scale="fp32").dequantize()
    as_float = quant.quantize(weight, "int4-asym:float-zero", scale="fp32")
    assert np.abs(with_zero - weight).max() < 0.07
    assert np.abs(clamped - weight).max() > 0.9
    assert np.abs(as_float.dequantize() - weight).max() < 0.04
    assert (
        as_float.effective_bits == quant.quantize(weight, "int4-asym").effective_bits + 12 / 16 + 1
    )


def test_ant_searches_type_and_scale() -> None:
    """Its own selection is never worse than any of its types at the plain absolute maximum."""
    weight = heavy(5, (8, 256))
    error = {
        name: np.square(quant.quantize(weight, f"{name}:row").dequantize() - weight).sum()
        for name in ("ant4", "int4", "flint4", "pot4")
    }
    assert error["ant4"] <= min(error.values()) * 1.001


def test_learned_codebooks_beat_every_grid_of_their_width() -> None:
    weight = heavy(6, (4, 2048))
    error = {
        name: np.square(quant.quantize(weight, f"{name}:row").dequantize() - weight).sum()
        for name in ("codebook4", "int4", "fp4", "nf4", "flint4")
    }
    assert min(error, key=lambda name: error[name]) == "codebook4"


def test_user_grids(tmp_path: Path) -> None:
    path = tmp_path / "grid.toml"
    path.write_text('schema = "grid/1"\nname = "fifths"\nlevels = [-1.0, -0.2, 0.2, 1.0]\n')
    qt = quant.quantize(np.array([[2.0, 0.3, -0.5, -2.0]]), f"{path}:g4:fp32")
    np.testing.assert_allclose(qt.dequantize(), [[2.0, 0.4, -0.4, -2.0]], rtol=1e-6)
    assert qt.spec.format.element_bits == 2


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([1.0], "1 levels: 2 to 256"),
        ([1.0, float("nan")], "levels\\[1\\] nan is not allowed"),
        ([1.0, 2.0, 1.0], "level 1 stands twice"),
        ([0.0, float("inf")], "levels\\[1\\] inf is not allowed"),
    ],
)
def test_levels_that_make_no_grid(levels: list[float], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        quant.user_format("broken", levels)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(RequestError, match="'int4' is taken"):
        quant.user_format("int4", [0.0, 1.0])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mxfp4:nearest", "'nearest' is not allowed"),
        ("hif4:g32", "hif4 has its own, g64"),
        ("codebook4:fp32", "has its own"),
        ("olive-int4:g64", "one a row"),
        ("int4:e3m4", "'e3m4' is not allowed"),
    ],
)
def test_specifications_that_do_not_fit(text: str, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        parse_spec(text)


@pytest.mark.parametrize(
    "text", ["bitmod3:g128:int8", "mxfp4:g32:e8m0:rceil", "int4-asym:row:fp16:minmax", "hif4"]
)
def test_a_specification_is_its_own_text(text: str) -> None:
    assert parse_spec(str(parse_spec(text))) == parse_spec(text)


@pytest.mark.parametrize("bits", range(1, 9))
def test_the_range_of_asymmetric_integers_holds_zero_unless_said(bits: int) -> None:
    """As torchao, compressed-tensors and GPTQ have it; texts that name the rule still mean it."""
    name = f"int{bits}-asym:g32"
    plain, named = parse_spec(name), parse_spec(f"{name}:minmax-zero")
    assert plain == named == parse_spec(str(named))
    assert str(plain) == f"{name}:fp16"
    assert str(parse_spec(f"{name}:minmax")) == f"{name}:fp16:minmax"
    constant = np.full((2, 64), 0.25, np.float32)
    for value in (constant, -constant):
        kept = quant.quantize(value, name, scale="fp32").dequantize()
        np.testing.assert_allclose(kept, value, rtol=1e-6)
        lost = quant.quantize(value, f"{name}:minmax", scale="fp32").dequantize()
        assert not lost.any()
