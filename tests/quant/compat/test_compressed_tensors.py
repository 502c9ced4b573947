"""compressed-tensors 0.20: every golden case (tests/golden/README.md); the rest in test_goldens."""

from __future__ import annotations

import numpy as np
import pytest

import quant
from quant.common.errors import RequestError
from quant.compat import compressed_tensors as compat
from quant.formats.scales import E4M3_ELEMENT
from tests.quant.golden import cases, golden, source

MAIN_PATH = {
    "W2A16": "int2:fp32:full-range",
    "W3A16": "int3:fp32:full-range",
    "W4A16": "int4:fp32:full-range",
    "W8A16": "int8:fp32:full-range",
    "MXFP4A16": "mxfp4:even",
    "MXFP6A16": "mxfp6-e2m3:even",
    "MXFP8A16": "mxfp8-e4m3:rceil",
    "NVFP4A16": "nvfp4:global",
}


@pytest.mark.parametrize(
    "key", [k for k in cases(r"public\|compressed_tensors0.20\|.*A16.*") if "ASYM" not in k]
)
def test_main_path(key: str) -> None:
    qt = quant.quantize(source(key), MAIN_PATH[key.split("|")[2]])
    np.testing.assert_array_equal(qt.dequantize(), golden()[f"{key}|deq"])
    if f"{key}|global_scale" in golden():
        assert qt.tensor_scale is not None
        np.testing.assert_array_equal(qt.tensor_scale, golden()[f"{key}|global_scale"])
        scales = golden()[f"{key}|scale"]
        np.testing.assert_array_equal(E4M3_ELEMENT.levels[qt.scales.astype(int)], scales)


@pytest.mark.parametrize("key", cases(r"public\|compressed_tensors0.20\|W4A16_ASYM.*"))
def test_asymmetric(key: str) -> None:
    found = compat.asymmetric(source(key), 4, 128)
    np.testing.assert_array_equal(found.scales, golden()[f"{key}|scale"])
    np.testing.assert_array_equal(found.zeros, golden()[f"{key}|zero"])
    np.testing.assert_array_equal(found.dequantize(), golden()[f"{key}|deq"])


@pytest.mark.parametrize("key", cases(r"public\|compressed_tensors0.20\|pack_int.*"))
def test_packing(key: str) -> None:
    bits, codes = int(key.split("|")[2][-1]), golden()[f"{key}|code"]
    packed = compat.pack_to_int32(codes, bits)
    np.testing.assert_array_equal(packed, golden()[f"{key}|packed"])
    np.testing.assert_array_equal(compat.unpack_from_int32(packed, bits, codes.shape[1]), codes)


def test_every_case_is_compared() -> None:
    keys = cases(r"public\|compressed_tensors0.20\|.*")
    kinds = {key.split("|")[2] for key in keys}
    assert kinds == set(MAIN_PATH) | {"W4A16_ASYM"} | {f"pack_int{b}" for b in range(2, 9)}


def test_bad_requests_name_the_value() -> None:
    with pytest.raises(RequestError, match="100 are not whole groups of 64"):
        compat.asymmetric(np.ones((2, 100), np.float32), 4, 64)
    with pytest.raises(RequestError, match="do not fit 3 bits"):
        compat.pack_to_int32(np.full((1, 4), 7, np.int8), 3)
