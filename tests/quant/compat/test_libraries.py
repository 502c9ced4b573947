"""bitsandbytes, microxcaling, optimum-quanto, BitNet, HQQ packing: every golden case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from quant.common.errors import RequestError
from quant.compat import bitnet, microxcaling, quanto
from quant.compat import bitsandbytes as bnb
from quant.compat.hqq import pack_4bit
from tests.quant.golden import Array, cases, golden, source


def wanted(key: str, part: str) -> Array:
    return golden()[f"{key}|{part}"]


def compare(key: str, **found: Array) -> None:
    """Compare the parts that the case has; some hold codes alone."""
    parts = [part for part in found if f"{key}|{part}" in golden()]
    assert parts
    for part in parts:
        np.testing.assert_array_equal(found[part], wanted(key, part).reshape(found[part].shape))


@pytest.mark.parametrize("key", cases(r"public\|bitsandbytes0.50\|(nf4|fp4)\|.*"))
def test_bitsandbytes_four_bits(key: str) -> None:
    _, _, kind, block, _ = key.split("|")
    values = source(key).astype(np.float32)
    found = bnb.quantize_4bit(values, kind, int(block[1:]))  # type: ignore[arg-type]
    compare(key, code=found.codes, absmax=found.absmax, deq=found.dequantize())


@pytest.mark.parametrize("key", cases(r"public\|bitsandbytes0.50\|nf4_dq\|.*"))
def test_bitsandbytes_double_quantization(key: str) -> None:
    values = source(key).astype(np.float32)
    found = bnb.quantize_4bit(values, "nf4", 64)
    double = bnb.quantize_absmax(found.absmax)
    compare(
        key,
        packed=found.packed(),
        absmax_offset=np.array(double.offset),
        absmax_q=double.codes.codes,
        absmax2=double.codes.absmax,
        deq=found.dequantize(double.absmax()),
    )


@pytest.mark.parametrize("key", cases(r"public\|bitsandbytes0.50\|dynamic8\|.*"))
def test_bitsandbytes_eight_bits(key: str) -> None:
    values = source(key).astype(np.float32)
    found = bnb.quantize_8bit(values)
    compare(key, code=found.codes, absmax=found.absmax, deq=found.dequantize())


def test_the_dynamic_map() -> None:
    table = np.sort(golden()["table|bitsandbytes|dynamic8"].astype(np.float32))
    np.testing.assert_array_equal(bnb.dynamic_map(), table)


@pytest.mark.parametrize("key", cases(r"public\|microxcaling\|.*"))
def test_microxcaling(key: str) -> None:
    _, _, kind, settings, _ = key.split("|")
    rounding: Any = settings.split("_")[1]
    if settings.startswith("elem"):
        found = microxcaling.elementwise(source(key).astype(np.float32), kind, rounding)
        np.testing.assert_array_equal(found, wanted(key, "val"))
    else:
        element = kind.replace("mx", "", 1)
        found = microxcaling.blocks(source(key).astype(np.float32), element, rounding)
        np.testing.assert_array_equal(found, wanted(key, "deq"))


@pytest.mark.parametrize("key", cases(r"public\|quanto0.2.7\|.*"))
def test_quanto(key: str) -> None:
    _, _, kind, settings, _ = key.split("|")
    if kind == "qint8":
        found = quanto.int8_rows(source(key).astype(np.float32))
    elif kind.startswith("qfloat8"):
        found = quanto.float8_rows(source(key).astype(np.float32))
    else:
        found = quanto.low_bits(
            source(key).astype(np.float32), int(kind[4]), int(settings[1:].split("_")[0])
        )
    np.testing.assert_allclose(found.values, wanted(key, "deq"), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found.scales, wanted(key, "scale"), rtol=1e-6)
    if found.shifts is not None:
        np.testing.assert_allclose(found.shifts, wanted(key, "shift"), rtol=1e-6)


@pytest.mark.parametrize("key", cases(r"public\|transformers5.23\|bitnet_b1.58\|.*"))
def test_bitnet(key: str) -> None:
    codes, scale = bitnet.ternary(source(key).astype(np.float32))
    assert scale == wanted(key, "absmean")
    np.testing.assert_array_equal(bitnet.dequantize(codes, scale), wanted(key, "deq"))


@pytest.mark.parametrize("key", cases(r"public\|transformers5.23\|bitnet_pack\|.*"))
def test_bitnet_packing(key: str) -> None:
    codes = wanted(key, "code")
    np.testing.assert_array_equal(bitnet.pack(codes), wanted(key, "packed"))
    np.testing.assert_array_equal(bitnet.unpack(bitnet.pack(codes)), codes)


@pytest.mark.parametrize("key", cases(r"public\|hqq0.2.8\|int4_packed\|.*"))
def test_hqq_packing(key: str) -> None:
    """Of the codes of the golden case that it was made of."""
    packed = wanted(key, "packed")
    name = key.split("|")[4]
    made_of = [
        golden()[f"{case}|code"].reshape(-1, 64)
        for case in cases(rf"public\|hqq0.2.8\|int4\|g64_.*\|{name}")
    ]
    assert any(np.array_equal(pack_4bit(codes), packed) for codes in made_of)


def test_every_case_is_compared() -> None:
    kinds = {key.split("|")[2] for key in cases(r"public\|bitsandbytes0.50\|.*")}
    assert kinds == {"nf4", "fp4", "nf4_dq", "dynamic8"}
    kinds = {key.split("|")[2] for key in cases(r"public\|(quanto0.2.7|transformers5.23)\|.*")}
    assert kinds == {
        "qint4", "qint2", "qint8", "qfloat8_e4m3fn", "bitnet_b1.58", "bitnet_pack",
    }  # fmt: skip


def test_bad_requests_name_the_value() -> None:
    values = np.ones((3, 40), np.float32)
    with pytest.raises(RequestError, match="fp5"):
        bnb.quantize_4bit(values, "fp5")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="40 are not whole blocks of 32"):
        microxcaling.blocks(values, "fp4_e2m1", "even")
    with pytest.raises(RequestError, match="upwards"):
        microxcaling.elementwise(values, "int8", "upwards")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="not whole groups of 64"):
        quanto.low_bits(values, 4, 64)
    with pytest.raises(RequestError, match="3 rows are not a multiple of 4"):
        bitnet.pack(np.zeros((3, 8), np.int8))
