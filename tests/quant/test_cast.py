"""Elementwise casts: equal to three libraries bit for bit, and to a search over all the levels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from quant import cast as c
from quant.common.errors import RequestError
from quant.formats.elements import FloatType, IntType

with np.load(Path(__file__).parents[1] / "golden/datatypes.npz") as _file:
    GOLDEN: dict[str, NDArray[Any]] = {
        key: _file[key]
        for key in _file.files
        if key.startswith("public|in|scalar")
        or key.split("|")[1] in {"ml_dtypes", "gfloat", "torch2.13"}
    }
X = GOLDEN["public|in|scalar|x"]
TYPES = c.SCALAR_TYPES | c.WIDE_TYPES
FP3 = FloatType(2, 0, bias=1)
ALL_TYPES = [*TYPES.values(), FP3, FloatType(0, 3), FloatType(2, 1, bias=3, specials="fnuz")]
NAMES = {"bfloat16": "bf16", "float16": "fp16"}
TIES: dict[str, c.Ties] = {"TiesToEven": "even", "TiesToAway": "away", "TowardZero": "zero"}


def keys(producer: str) -> list[str]:
    found = [key for key in GOLDEN if key.startswith(f"{producer}|")]
    assert found
    return found


def element_of(name: str) -> FloatType:
    """The type that ``float6_e2m3fn``, ``ocp_e4m3`` or ``bfloat16`` means."""
    short = NAMES.get(name, name.partition("_")[2])
    if name == "ocp_e4m3":
        return TYPES["e4m3fn"]
    if short in {"e2m3fn", "e3m2fn", "e2m1fn"}:  # these have neither Inf nor NaN
        short = short.removesuffix("fn")
    return TYPES[short]


def same(got: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Equal bits, but for the bits of NaNs (``values``) and for nothing at all (codes)."""
    assert got.dtype == wanted.dtype
    np.testing.assert_array_equal(got, wanted)
    if got.dtype == np.float32:
        number = ~np.isnan(wanted)
        assert np.array_equal(np.signbit(got)[number], np.signbit(wanted)[number])


@pytest.mark.parametrize("key", [*keys("public|ml_dtypes"), *keys("public|torch2.13")])
def test_libraries(key: str) -> None:
    _, library, name, _, inputs, field = key.split("|")
    assert inputs == "scalar"
    producer: c.Producer = "ml_dtypes" if library == "ml_dtypes" else "torch"
    if name == "float8_e8m0fnu":
        codes = c.cast_e8m0(X, negative="special" if producer == "ml_dtypes" else "magnitude")
        values = c.decode_e8m0(codes)
    else:
        element = element_of(name)
        codes = c.cast(X, element, **c.convention(producer, element))
        values = c.decode(codes, element)
    same(codes if field == "code" else values, GOLDEN[key])


@pytest.mark.parametrize("key", keys("public|gfloat"))
def test_gfloat(key: str) -> None:
    _, _, name, mode, inputs, field = key.split("|")
    assert (inputs, field, mode[-4:]) == ("scalar_finite0", "val", "_sat")
    ties = TIES[mode[:-4]]
    x = np.where(np.isfinite(X), X, np.float32(0))
    if name == "ocp_e8m0":
        values = c.round_power(x, ties=ties, negative="axis")
        # In the range of the levels the codes say the same.
        inside = x >= 2.0**-126
        codes = c.cast_e8m0(x, ties=ties, overflow="saturate")
        same(c.decode_e8m0(codes)[inside], GOLDEN[key][inside])
    elif name == "ocp_int8":
        values = c.decode_mxint8(c.cast_mxint8(x, ties=ties))
    else:
        element = element_of(name)
        codes = c.cast(x, element, ties=ties, **c.convention("saturating", element))
        values = c.decode(codes, element)
    same(values, GOLDEN[key])


@pytest.mark.parametrize("key", [*keys("table|ml_dtypes"), *keys("table|gfloat")])
def test_tables(key: str) -> None:
    name, wanted = key.split("|")[2], GOLDEN[key].astype(np.float32)
    codes = np.arange(len(wanted))
    if name.removeprefix("u").startswith("int"):
        values = IntType(int(name[-1]), symmetric=name[0] == "i").levels
    elif "e8m0" in name:
        values = c.decode_e8m0(codes)
    elif name == "ocp_int8":
        values = c.decode_mxint8(codes)
    else:
        assert len(wanted) == 2 ** element_of(name).bits
        values = c.decode(codes, element_of(name))
    same(values, wanted)


def test_conventions_do_differ() -> None:
    x = np.array([np.nan, -np.nan, np.inf, -np.inf, 1e9, -0.0], np.float32)
    fn, e2m1, fnuz = TYPES["e4m3fn"], TYPES["e2m1"], TYPES["e4m3fnuz"]
    ml, torch = (c.cast(x, fn, **c.convention(name, fn)) for name in ("ml_dtypes", "torch"))
    assert ml.tolist() == [0x7F, 0xFF, 0x7F, 0xFF, 0x7F, 0x80]
    assert torch.tolist() == [0x7F, 0xFF, 0x7E, 0xFE, 0x7E, 0x80]
    assert c.cast(x, e2m1, nan="flipped_zero").tolist() == [8, 0, 7, 15, 7, 8]
    assert c.cast(x, e2m1, nan="zero").tolist() == [0, 0, 7, 15, 7, 8]
    assert c.cast(x, fnuz, infinity="saturate").tolist() == [0x80, 0x80, 0x7F, 0xFF, 0x7F, 0]
    assert c.cast(x, fnuz, overflow="special", nan="flipped_zero").tolist() == [0, 0, *[128] * 3, 0]
    e5m2 = c.cast(x, TYPES["e5m2"], nan="ones", overflow="special")
    assert e5m2.tolist() == [0x7F, 0xFF, 0x7C, 0xFC, 0x7C, 0x80]
    assert c.cast(1e9, TYPES["e5m2"], ties="zero", overflow="special") == 0x7B
    # E8M0: the float32 subnormals of the libraries, the nearest levels, and both ends.
    low = np.array([2**-127 * 1.25, 2**-127 * 0.9, 3.0, 6.0, 0.0, 3e38, -3.0])
    assert c.cast_e8m0(low).tolist() == [1, 0, 129, 130, 255, 255, 255]
    assert c.cast_e8m0(low, ties="even", overflow="saturate", negative="magnitude").tolist() == [
        *[0, 0, 128, 130, 0, 254, 128]
    ]
    assert c.cast_e8m0([np.nan, np.inf], overflow="saturate").tolist() == [255, 255]
    assert c.round_power([-3.0, 3.0, -5.0, 0.0], ties="zero").tolist() == [-2, 2, -4, 0]
    assert c.round_power([-3.0, 3.0, -5.0], ties="zero", negative="axis").tolist() == [-4, 2, -8]
    assert c.cast_mxint8([-2, -np.inf, 9.0, -0.5], lowest=-127).tolist() == [129, 129, 127, 224]


values32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
elements = st.sampled_from(ALL_TYPES)
modes: st.SearchStrategy[c.Ties] = st.sampled_from(get_args(c.Ties))


@st.composite
def near_levels(draw: st.DrawFn) -> tuple[FloatType, float]:
    """A type, and a value on, beside or halfway between its levels, or anywhere."""
    element = draw(elements)
    if draw(st.booleans()):
        return element, draw(values32)
    code = draw(st.integers(0, 2**element.bits - 2))
    low, high = c.decode([code, code + 1], element).astype(np.float64)
    if not np.isfinite([low, high]).all():
        return element, 1.0
    middle = float(low + (high - low) * draw(st.sampled_from([0, 0.25, 0.5, 1])))
    return element, float(np.nextafter(middle, draw(st.sampled_from([-np.inf, middle, np.inf]))))


def search(x: float, element: FloatType, ties: c.Ties) -> int:
    """The code of the magnitude, by exact distances to every finite level."""
    count = element.negative_zero
    levels = [Fraction(float(v)) for v in c.decode(range(count), element) if np.isfinite(v)]
    value = min(Fraction(abs(x)), levels[-1])
    if ties == "zero":
        return max(code for code, level in enumerate(levels) if level <= value)

    def order(code: int) -> tuple[Fraction, int]:
        return abs(levels[code] - value), -code if ties == "away" else code % 2

    return min(range(len(levels)), key=order)


@given(near_levels(), modes)
def test_nearest_level(case: tuple[FloatType, float], ties: c.Ties) -> None:
    element, x = case
    if element.bits > 8:  # too many levels to search: neighbours of the answer instead
        code = int(c.cast(abs(x), element, ties=ties))
        levels = c.decode([max(code - 1, 0), code, code + 1], element).astype(np.float64)
        low, level, high = levels
        if np.isfinite(high) and ties == "zero":
            assert level <= abs(x) < high
        elif np.isfinite(high):
            assert (Fraction(low) + Fraction(level)) / 2 <= Fraction(abs(x))
            assert Fraction(abs(x)) <= (Fraction(level) + Fraction(high)) / 2
        return
    code = search(x, element, ties)
    negative = np.signbit(x) and not (code == 0 and element.specials == "fnuz")
    assert c.cast(x, element, ties=ties) == code + negative * element.negative_zero


@given(near_levels(), modes)
def test_idempotence_and_sign_symmetry(case: tuple[FloatType, float], ties: c.Ties) -> None:
    element, x = case
    code = c.cast(x, element, ties=ties)
    assert c.cast(c.decode(code, element), element, ties=ties) == code
    opposite = c.decode(c.cast(-x, element, ties=ties), element)
    assert opposite == -c.decode(code, element)


@given(elements, st.lists(values32, min_size=2, max_size=40), modes)
def test_monotone(element: FloatType, values: list[float], ties: c.Ties) -> None:
    levels = c.decode(c.cast(sorted(values), element, ties=ties), element)
    assert np.all(np.diff(levels.astype(np.float64)) >= 0)


@pytest.mark.parametrize("element", ALL_TYPES)
@pytest.mark.parametrize("ties", get_args(c.Ties))
def test_every_code_stays(element: FloatType, ties: c.Ties) -> None:
    codes = np.arange(2**element.bits)
    values = c.decode(codes, element)
    finite = ~np.isnan(values)
    assert np.array_equal(c.cast(values[finite], element, ties=ties), codes[finite])


@given(st.floats(-3, 3, width=32), modes)
def test_mxint8_nearest(x: float, ties: c.Ties) -> None:
    exact = Fraction(x) * 64
    whole = abs(exact) // 1
    rest = abs(exact) - whole
    up = rest > Fraction(1, 2) or (rest == Fraction(1, 2) and (ties == "away" or whole % 2 == 1))
    magnitude = int(whole) + (up and ties != "zero")
    wanted = min(max(-magnitude if x < 0 else magnitude, -128), 127)
    assert float(c.decode_mxint8(c.cast_mxint8(x, ties=ties))) * 64 == wanted


def test_large_arrays_and_layouts() -> None:
    x = np.random.default_rng(0).standard_normal((300, 700)).astype(np.float32) * 100
    element = TYPES["e4m3fn"]
    codes = c.cast(x, element)
    assert codes.shape == x.shape
    assert np.array_equal(codes[250], c.cast(x[250], element))
    assert np.array_equal(c.cast(x.T, element), codes.T)
    assert np.array_equal(c.cast(x.astype(np.float64), element), codes)
    assert c.cast(np.zeros((0, 3)), element).shape == (0, 3)
    assert c.cast([1, 2], element).tolist() == [0x38, 0x40]
    signalling = np.array([0x7F800001, 0xFF800001], np.uint32).view(np.float32)
    assert c.cast(signalling, element).tolist() == [0x7F, 0xFF]


def test_double_rounding_does_not_happen() -> None:
    # Rounded to float32 first, this would be the tie 1.0625 and go to 1.0.
    assert c.decode(c.cast(1.0625 + 2.0**-40, TYPES["e4m3fn"]), TYPES["e4m3fn"]) == 1.125


LOOSE: Any = c  # for options that the types forbid


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LOOSE.cast(1.0, TYPES["e2m1"], ties="up"), "unknown ties 'up'"),
        (lambda: LOOSE.cast(1.0, TYPES["e2m1"], overflow="wrap"), "unknown overflow 'wrap'"),
        (lambda: LOOSE.cast(1.0, TYPES["e2m1"], infinity="nan"), "unknown infinity 'nan'"),
        (lambda: LOOSE.cast(1.0, TYPES["e2m1"], nan="?"), "unknown nan"),
        (lambda: c.cast(np.nan, TYPES["e2m1"]), "NaN has no code"),
        (lambda: c.cast(np.nan, TYPES["e5m2"], nan="error"), "NaN has no code"),
        (lambda: c.cast(7.5, TYPES["e2m1"], overflow="error"), r"7\.5 .*±6"),
        (lambda: c.cast(-np.inf, TYPES["e5m2"], infinity="error"), "-inf .*±57344"),
        (lambda: c.cast(1.0, FloatType(8, 23, bias=127)), "32 bits"),
        (lambda: c.cast(1j, TYPES["e2m1"]), "complex128"),
        (lambda: c.decode([16], TYPES["e2m1"]), "16 .*0 to 15"),
        (lambda: c.decode([1.0], TYPES["e2m1"]), "float64"),
        (lambda: c.decode_e8m0([-1]), "0 to 255"),
        (lambda: LOOSE.cast_e8m0(1.0, ties="nearest"), "unknown ties"),
        (lambda: c.round_power([np.inf]), "finite"),
        (lambda: c.cast_mxint8([np.nan]), "NaN"),
        (lambda: c.cast_mxint8([1.0], lowest=-100), "lowest"),
        (lambda: LOOSE.convention("jax", TYPES["e2m1"]), "unknown producer 'jax'"),
    ],
)
def test_bad_requests(call: Any, message: str) -> None:  # noqa: ANN401
    with pytest.raises(RequestError, match=message):
        call()
