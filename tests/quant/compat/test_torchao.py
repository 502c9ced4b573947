"""torchao 0.18: every golden case, NaN, Inf and subnormals included (tests/golden/README.md)."""

from __future__ import annotations

import numpy as np
import pytest

from quant.cast import SCALAR_TYPES, cast, decode
from quant.common.errors import RequestError
from quant.compat import torchao
from tests.quant.golden import cases, golden, source


@pytest.mark.parametrize("key", cases(r"public\|torchao0.18\|int.*"))
def test_integers(key: str) -> None:
    _, _, kind, group, _ = key.split("|")
    bits, mapping = int(kind[3]), kind.split("_", 1)[1]
    found = torchao.integers(source(key), bits, mapping, int(group[1:]))  # type: ignore[arg-type]
    wanted = {part: golden()[f"{key}|{part}"] for part in ("code", "scale", "zero")}
    np.testing.assert_array_equal(found.codes, wanted["code"].astype(np.int16))
    np.testing.assert_array_equal(found.scales, wanted["scale"].reshape(found.scales.shape))
    zeros = wanted["zero"].reshape(found.zeros.shape)
    np.testing.assert_array_equal(found.zeros, zeros.astype(np.int16))


@pytest.mark.parametrize("key", cases(r"public\|torchao0.18\|mx.*"))
def test_mx(key: str) -> None:
    _, _, element, rule, _ = key.split("|")
    found = torchao.mx(source(key), element, rule.removeprefix("b32_"))  # type: ignore[arg-type]
    np.testing.assert_array_equal(found.scales, golden()[f"{key}|scale"])
    np.testing.assert_array_equal(found.codes, golden()[f"{key}|code"])
    if f"{key}|deq" in golden():
        np.testing.assert_array_equal(torchao.decode_mx(found, element), golden()[f"{key}|deq"])


@pytest.mark.parametrize("key", cases(r"public\|torchao0.18\|nvfp4\|.*"))
def test_nvfp4(key: str) -> None:
    two = golden().get(f"{key}|tensor_scale")
    found = torchao.nvfp4(source(key), None if two is None else float(two))
    np.testing.assert_array_equal(found.scales, golden()[f"{key}|scale"])
    np.testing.assert_array_equal(found.codes, golden()[f"{key}|code"])
    np.testing.assert_array_equal(torchao.decode_nvfp4(found), golden()[f"{key}|deq"])


@pytest.mark.parametrize("key", cases(r"public\|torchao0.18\|float.*"))
def test_elementwise_casts(key: str) -> None:
    """Its inputs have 0 for NaN and bounds for Inf, as the input's name says."""
    element = SCALAR_TYPES[key.split("|")[2].rsplit("_", 1)[1]]
    values = golden()["public|in|scalar|x"]
    values = np.nan_to_num(values, nan=0.0, posinf=np.inf, neginf=-np.inf)
    codes = cast(values, element, overflow="saturate", infinity="saturate", nan="zero")
    np.testing.assert_array_equal(codes, golden()[f"{key}|code"])
    np.testing.assert_array_equal(decode(codes, element), golden()[f"{key}|val"])


def test_every_case_is_compared() -> None:
    mine = [cases(rf"public\|torchao0.18\|{kind}.*") for kind in ("int", "mx", "nvfp4", "float")]
    assert sum(map(len, mine)) == len(cases(r"public\|torchao0.18\|.*"))
    assert all(mine)


def test_bad_requests_name_the_value() -> None:
    values = np.ones((2, 48), np.float32)
    with pytest.raises(RequestError, match="48 are not whole groups of 32"):
        torchao.mx(values, "mxfp4_e2m1", "floor")
    with pytest.raises(RequestError, match="upwards"):
        torchao.mx(values, "mxfp4_e2m1", "upwards")  # type: ignore[arg-type]
    with pytest.raises(RequestError, match="mxfp5"):
        torchao.mx(values, "mxfp5", "floor")
    with pytest.raises(RequestError, match="both"):
        torchao.integers(values, 4, "both", 16)  # type: ignore[arg-type]
