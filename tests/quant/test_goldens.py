"""The main path equals other implementations bit for bit (tests/golden/README.md)."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import quant
from quant.formats.elements import Element, FloatType, IntType, PlainType
from quant.formats.registry import FORMATS
from quant.rounding.layouts.codebooks import kmeans

GOLDEN = Path(__file__).parent.parent / "golden/datatypes.npz"
MX_NAMES = {"mxfp4_e2m1": "mxfp4"}
# torchao clamps the scale of blocks below 2^-126 but stores another; not finite: refused here.
TORCHAO_FAULTS = {"subnormal", "special"}


@cache
def golden() -> dict[str, NDArray[np.generic]]:
    with np.load(GOLDEN) as data:
        return {key: data[key] for key in data.files}


def cases(pattern: str) -> list[str]:
    with np.load(GOLDEN) as data:
        return [key for key in data.files if re.fullmatch(pattern, key)]


def weight(key: str) -> NDArray[np.generic]:
    return golden()[f"public|in|{key.split('|')[4]}|x"]


def mx_format(key: str) -> str:
    kind = key.split("|")[2]
    return MX_NAMES.get(kind, kind.replace("_", "-"))


def faulty(key: str) -> bool:
    return key.split("|")[4] in TORCHAO_FAULTS


@pytest.mark.parametrize(
    "key", [k for k in cases(r"public\|torchao0.18\|mx.*\|scale") if not faulty(k)]
)
def test_mx_equals_torchao(key: str) -> None:
    rule = key.split("|")[3].removeprefix("b32_")
    qt = quant.quantize(weight(key), f"{mx_format(key)}:{rule}")
    assert np.array_equal(qt.scales, golden()[key])
    assert np.array_equal(qt.unpack_codes(), golden()[key.replace("|scale", "|code")])


@pytest.mark.parametrize(
    "key", [k for k in cases(r"public\|microxcaling\|mx(fp|int8).*\|b32_even\|.*\|deq")
            if "special" not in k],
)  # fmt: skip
def test_mx_equals_microxcaling(key: str) -> None:
    assert np.array_equal(quant.quantize(weight(key), mx_format(key)).dequantize(), golden()[key])


@pytest.mark.parametrize(
    "key", [k for k in cases(r"public\|torchao0.18\|nvfp4\|.*\|scale") if "special" not in k]
)
def test_nvfp4_equals_torchao(key: str) -> None:
    """Scales are equal; codes too, but at ties and fp32 subnormals: it multiplies by 1/scale."""
    levels = key.split("|")[3].replace("_", "-")
    qt = quant.quantize(weight(key), f"nvfp4:{levels}")
    assert np.array_equal(qt.scales, golden()[key])
    if levels == "two-level":
        wanted = golden()[key.replace("|scale", "|tensor_scale")].reshape(1)
        assert np.array_equal(np.asarray(qt.tensor_scale), wanted)
    if levels == "one-level" or key.split("|")[4] not in {"subnormal", "ties6"}:
        assert np.array_equal(qt.unpack_codes(), golden()[key.replace("|scale", "|code")])


@pytest.mark.parametrize(
    "key", [k for k in cases(r"public\|bitsandbytes0.50\|nf4\|.*\|code")
            if k.split("|")[4] not in {"subnormal", "special"}],
)  # fmt: skip
def test_nf4_equals_bitsandbytes(key: str) -> None:
    qt = quant.quantize(weight(key), f"nf4:g{key.split('|')[3][1:]}")
    assert np.array_equal(qt.unpack_codes(), golden()[key])
    scales = golden()[key.replace("|code", "|absmax")]
    assert np.array_equal(qt.scales.ravel(), scales.ravel())


@pytest.mark.parametrize("key", cases(r"public\|huawei_hifx\|.*\|deq"))
def test_equals_hif4(key: str) -> None:
    assert np.array_equal(quant.quantize(weight(key), "hif4").dequantize(), golden()[key])


@pytest.mark.parametrize(
    "key", [k for k in cases(r"public\|torchao0.18\|int._(asym|sym_noclip)\|.*\|code")
            if k.split("|")[4] != "zeros"],
)  # fmt: skip
def test_integers_equal_torchao(key: str) -> None:
    """It keeps scales above float32's epsilon, so groups of zeros differ in scale alone."""
    _, _, kind, group, _, _ = key.split("|")
    bits, asymmetric = int(kind[3]), kind.endswith("asym")
    name = f"int{bits}-asym:minmax-zero" if asymmetric else f"int{bits}:no-clip"
    size = 256 if group == "g0" else int(group[1:])
    qt = quant.quantize(weight(key), name, group_size=size, scale="fp32")
    codes = qt.unpack_codes().astype(np.int64)
    if not asymmetric:
        codes = np.where(codes >= 2 ** (bits - 1), codes - 2**bits, codes)
    wanted = golden()[key]
    assert np.array_equal(codes, wanted if asymmetric else wanted.astype(np.int8))
    scales = golden()[key.replace("|code", "|scale")]
    assert np.array_equal(qt.scales, scales.reshape(qt.scales.shape))


@pytest.mark.parametrize("bits", [3, 4])
def test_codebooks_are_no_worse_than_lloyd(bits: int) -> None:
    values, importance = (golden()[f"public|in|km{name}|x"].astype(np.float64) for name in "WF")
    found = kmeans(values.astype(np.float32), importance.astype(np.float32), 2**bits)
    key = f"public|sklearn_squeezellm|wkmeans{bits}|row|kmW|centers"
    wanted = golden()[key].astype(np.float64)

    def inertia(centers: NDArray[np.float64]) -> NDArray[np.float64]:
        nearest = np.square(values[:, :, None] - centers[:, None, :]).min(axis=2)
        total: NDArray[np.float64] = (importance * nearest).sum(axis=1)
        return total

    assert (inertia(found) <= inertia(wanted) * 1.0001).all()


TABLES: dict[str, Element] = {
    "ml_dtypes|float8_e4m3fn": FloatType(4, 3, 7, "nan"),
    "ml_dtypes|float8_e5m2": FloatType(5, 2, 15, "ieee"),
    "ml_dtypes|float8_e4m3": FloatType(4, 3, 7, "ieee"),
    "ml_dtypes|float8_e3m4": FloatType(3, 4, 3, "ieee"),
    "ml_dtypes|float8_e4m3fnuz": FloatType(4, 3, 8, "fnuz"),
    "ml_dtypes|float8_e5m2fnuz": FloatType(5, 2, 16, "fnuz"),
    "ml_dtypes|float8_e4m3b11fnuz": FloatType(4, 3, 11, "fnuz"),
    "ml_dtypes|float6_e2m3fn": FloatType(2, 3),
    "ml_dtypes|float6_e3m2fn": FloatType(3, 2, 3),
    "ml_dtypes|float4_e2m1fn": FloatType(2, 1),
    "ml_dtypes|int4": IntType(4),
    "ml_dtypes|int2": IntType(2),
    "ml_dtypes|uint4": IntType(4, symmetric=False),
    "ml_dtypes|uint2": IntType(2, symmetric=False),
    "gfloat|ocp_e2m1": FloatType(2, 1),
    "gfloat|ocp_e2m3": FloatType(2, 3),
    "gfloat|ocp_e3m2": FloatType(3, 2, 3),
    "gfloat|ocp_e4m3": FloatType(4, 3, 7, "nan"),
    "gfloat|ocp_e5m2": FloatType(5, 2, 15, "ieee"),
    "gfloat|ocp_int8": FORMATS["mxint8"].element,
    "bitsandbytes|nf4": FORMATS["nf4"].element,
    "bitsandbytes|fp4": FORMATS["fp4-bnb"].element,
}


@pytest.mark.parametrize("name", TABLES)
def test_value_tables_by_code(name: str) -> None:
    element = TABLES[name]
    assert not isinstance(element, PlainType)
    np.testing.assert_array_equal(element.levels, golden()[f"table|{name}"].astype(np.float32))


def test_af4_levels() -> None:
    levels = np.sort(FORMATS["af4"].tables[0])
    np.testing.assert_allclose(
        levels, np.sort(golden()["table|bitsandbytes|af4_b64"].astype(np.float32)), atol=1e-8
    )


@pytest.mark.parametrize(
    ("name", "table"),
    [("fp3", "fp3"), ("fp4", "fp4"), ("fp5-e2m2", "fp5_e2m2"), ("fp5-e3m1", "fp5_e3m1"),
     ("fp6-e2m3", "fp6_e2m3"), ("fp6-e3m2", "fp6_e3m2"), ("flint4", "flint4"),
     ("flint5", "flint5")],
)  # fmt: skip
def test_bitmod_tables_up_to_a_factor(name: str, table: str) -> None:
    ours = np.unique(FORMATS[name].tables[0])
    theirs = np.unique(golden()[f"table|bitmod|{table}"].astype(np.float64))
    np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), rtol=1e-6)


@pytest.mark.parametrize(
    ("kind", "bits"), [(k, b) for k in ("flint", "pot") for b in range(3, 7)]
)  # fmt: skip
def test_ant_tables_up_to_a_factor(kind: str, bits: int) -> None:
    ours = np.unique(FORMATS[f"{kind}{bits}"].tables[0])
    theirs = np.unique(golden()[f"table|ant|{kind}{bits}_s"].astype(np.float64))
    np.testing.assert_allclose(ours / ours.max(), theirs / theirs.max(), rtol=1e-6)
