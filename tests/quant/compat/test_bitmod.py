"""quant.compat.bitmod: bit for bit the released half-precision quantizer, on every golden case."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from quant.common.errors import RequestError
from quant.compat import bitmod
from quant.compat.razer import F16

GOLDEN = Path(__file__).parents[2] / "golden"
TYPES, HALF = GOLDEN / "datatypes.npz", GOLDEN / "bitmod_quant_fp16.npz"


def golden(path: Path, *keys: str) -> list[NDArray[np.generic]]:
    with np.load(path) as data:
        return [data[key] for key in keys]


def keys(path: Path, prefix: str) -> list[str]:
    with np.load(path) as data:
        return [key for key in data.files if key.startswith(prefix)]


def assert_same_bits(got: F16, wanted: NDArray[np.generic]) -> None:
    assert got.dtype == wanted.dtype == np.float16
    assert got.shape == wanted.shape
    assert np.array_equal(got.view(np.uint16), wanted.view(np.uint16))


def random(rows: int, columns: int, spread: float = 1.0) -> F16:
    weight = np.random.default_rng(rows).standard_normal((rows, columns)) * spread
    return weight.astype(np.float16)


def grid_name(name: str) -> str:
    """In datatypes.npz ``int4`` is the release's list of levels and ``int4_sym`` rounds."""
    return f"{name}_grid" if re.fullmatch(r"int\d", name) else name


def half_case(key: str) -> tuple[F16, str, int]:
    """The weight, the type and the group size of ``kind/weight|type|group``."""
    entry, name, group = key.split("/")[1].split("|")[:3]
    (weight,) = golden(HALF, f"W/{entry}")
    return weight.astype(np.float16), name, 0 if group == "gch" else int(group[1:])


TABLES, PUBLIC = keys(TYPES, "table|bitmod|"), keys(TYPES, "public|bitmod_hpca25|")
AWQ = keys(TYPES, "public|bitmod_awq|")
FP16, SEL16, DQ16 = keys(HALF, "fp16/"), keys(HALF, "sel16/"), keys(HALF, "dq16/")


def test_the_golden_files_hold_all_cases() -> None:
    assert (len(TABLES), len(PUBLIC), len(AWQ)) == (22, 156, 16)
    assert (len(FP16), len(SEL16), len(DQ16)) == (132, 52, 23)


@pytest.mark.parametrize("key", TABLES)
def test_levels_equal_the_release(key: str) -> None:
    (wanted,) = golden(TYPES, key)
    got = bitmod.levels(grid_name(key.split("|")[2]))
    assert got.dtype == np.float32
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("key", PUBLIC)
def test_quantize_half_equals_the_release_on_public_inputs(key: str) -> None:
    _, _, name, params, entry, _ = key.split("|")
    weight, wanted = golden(TYPES, f"public|in|{entry}|x", key)
    group_size = int(params.removesuffix("_fp16")[1:])
    got = bitmod.quantize_half(weight.astype(np.float32), grid_name(name), group_size)
    assert_same_bits(got, wanted)


@pytest.mark.parametrize("key", AWQ)
def test_the_awq_port_equals_the_release(key: str) -> None:
    _, _, name, _, entry, field = key.split("|")
    weight, wanted = golden(TYPES, f"public|in|{entry}|x", key)
    name = name.replace("mixed_bitmod", "bitmod_awq")
    got = bitmod.choose_half(weight.astype(np.float32), name, 128)
    found = got.dequantized if field == "deq" else got.scales.reshape(-1, 1)
    assert_same_bits(found, wanted)


@pytest.mark.parametrize("key", FP16)
def test_quantize_half_equals_the_release(key: str) -> None:
    (wanted,) = golden(HALF, key)
    assert_same_bits(bitmod.quantize_half(*half_case(key)), wanted)


@pytest.mark.parametrize("key", SEL16)
def test_choose_half_takes_the_candidates_of_the_release(key: str) -> None:
    (wanted,) = golden(HALF, key)
    got = bitmod.choose_half(*half_case(key)).selectors
    assert got.dtype == wanted.dtype == np.int8
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("key", DQ16)
def test_two_level_scales_equal_the_earlier_repository(key: str) -> None:
    (wanted,) = golden(HALF, key)
    scale_bits = int(key.rsplit("|s", 1)[1])
    assert_same_bits(bitmod.quantize_two_level(*half_case(key), scale_bits), wanted)


@pytest.mark.parametrize("name", ["mixed_bitmod3", "mixed_ant4", "bitmod_awq4"])
def test_a_choice_names_the_type_that_quantizes_its_groups_alike(name: str) -> None:
    weight = random(8, 256)
    got = bitmod.choose_half(weight, name, 64)
    assert got.selectors.shape == got.scales.shape == (8, 4)
    alone = [bitmod.quantize_half(weight, candidate, 64) for candidate in got.candidates]
    assert len(np.unique(got.selectors)) > 1
    for row, group in np.ndindex(8, 4):
        place = (row, slice(64 * group, 64 * group + 64))
        assert np.array_equal(got.dequantized[place], alone[got.selectors[row, group]][place])


def test_both_integer_names_round_half_to_even_but_the_list_takes_the_lower_level() -> None:
    weight = np.array([[7, 0.5, 1.5, -0.5, -1.5]], np.float16)
    even, lower = [[7, 0, 2, 0, -2]], [[7, 0, 1, -1, -2]]
    assert np.array_equal(bitmod.quantize_half(weight, "int4", 0), even)
    assert np.array_equal(bitmod.quantize_half(weight, "int4_sym", 0), even)
    assert np.array_equal(bitmod.quantize_half(weight, "int4_grid", 0), lower)


def test_weights_whose_errors_reach_a_thousand_have_no_candidate() -> None:
    weight = random(2, 128)
    weight[1] *= np.float16(6000)
    got = bitmod.choose_half(weight, "mixed_bitmod@3")
    assert got.selectors[0, 0] >= 0
    assert got.selectors[1, 0] == -1
    assert not got.dequantized[1].any()
    assert got.scales[1, 0] == 0


def test_errors_that_underflow_choose_the_first_candidate() -> None:
    weight = random(16, 128, spread=1e-4)
    assert not bitmod.choose_half(weight, "mixed_bitmod4").selectors.any()
    assert bitmod.choose_half(weight * np.float16(1000), "mixed_bitmod4").selectors.any()


def test_scales_have_a_floor_except_in_the_awq_port() -> None:
    weight = random(4, 128, spread=3e-6)
    floor = np.float16(1e-5)
    assert (bitmod.choose_half(weight, "mixed_bitmod4").scales == floor).all()
    assert (bitmod.choose_half(weight, "bitmod_awq4").scales < floor).all()


def test_mx_reaches_twice_the_power_of_two_without_saturating() -> None:
    weight = np.array([[1.99, -1.0, 0.3, 0.0]], np.float16)
    assert bitmod.quantize_half(weight, "mx_fp4", 0)[0, 0] == 2
    assert not bitmod.quantize_half(np.zeros_like(weight), "mx_fp4", 0).any()


def test_a_float32_weight_is_rounded_to_half_first() -> None:
    weight = np.random.default_rng(5).standard_normal((4, 64)).astype(np.float32)
    for name in ("mixed_bitmod3", "int4_asym", "mx_int4"):
        half = bitmod.quantize_half(weight.astype(np.float16), name, 32)
        assert_same_bits(bitmod.quantize_half(weight, name, 32), half)


@pytest.mark.parametrize(
    ("shape", "name", "group_size", "said"),
    [
        ((2, 64), "mixed_bitmod5", 32, "unknown BitMoD type 'mixed_bitmod5'.*mixed_bitmod4"),
        ((2, 64), "int9", 32, "unknown BitMoD type 'int9'"),
        ((2, 64), "fp4_sym", 32, "unknown BitMoD type 'fp4_sym'"),
        ((2, 64), "fp4", 48, "group size 48: it must divide 64"),
        ((64,), "fp4", 32, r"float16 \(64,\)"),
        ((0, 64), "fp4", 32, r"float16 \(0, 64\)"),
    ],
)
def test_wrong_requests_say_what_is_allowed(
    shape: tuple[int, ...], name: str, group_size: int, said: str
) -> None:
    weight = np.ones(shape, np.float16)
    with pytest.raises(RequestError, match=said):
        bitmod.quantize_half(weight, name, group_size)


def test_wrong_names_and_bits_of_the_other_functions_are_refused() -> None:
    weight = np.ones((2, 64), np.float16)
    with pytest.raises(RequestError, match="unknown BitMoD search 'fp4'"):
        bitmod.choose_half(weight, "fp4", 32)
    with pytest.raises(RequestError, match="unknown BitMoD list of levels"):
        bitmod.levels("int4")
    with pytest.raises(RequestError, match="1 to 11"):
        bitmod.quantize_two_level(weight, "int4", 32, 12)
    with pytest.raises(RequestError, match="mixed_sm_sr4"):
        bitmod.quantize_two_level(weight, "mixed_bitmod4", 32)
