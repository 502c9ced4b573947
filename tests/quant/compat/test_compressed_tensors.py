"""compressed-tensors 0.20: every golden case (tests/golden/README.md); the rest in test_goldens."""

from __future__ import annotations

import numpy as np
import pytest

import quant
from quant.common.errors import RequestError
from quant.compat import compressed_tensors as compat
from quant.formats.elements import F32
from quant.formats.scales import E4M3_ELEMENT
from tests.quant.golden import cases, golden, source

MAIN_PATH = {
    "W2A16": "int2:fp32:full-range",
    "W3A16": "int3:fp32:full-range",
    "W4A16": "int4:fp32:full-range",
    "W8A16": "int8:fp32:full-range",
    "MXFP4A16": "mxfp4:even",
    "MXFP6A16": "mxfp6-e2m3:even",
    "MXFP8A16": "mxfp8-e4m3:even-e2m1",
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


MANTISSAS = (1.0, 1.25, 1.5, 1.625, 1.75, 1.8125, 1.875, 1.9375, 1.96875)


def groups(size: int, exponents: range) -> F32:
    """A group a row and an exponent, whose greatest magnitude is a mantissa times 2^exponent.

    Mantissas stand with their neighbours in float32; the other weights of a group lie below.
    """
    mantissas = np.array(MANTISSAS, np.float32)
    all_of = np.concatenate(
        [mantissas, np.nextafter(mantissas, np.float32(0)), np.nextafter(mantissas, np.float32(9))]
    )
    greatest = np.ldexp(all_of[:, None], np.array(exponents)[None]).astype(np.float32)
    rng = np.random.default_rng(0)
    weight = rng.uniform(-1, 1, (*greatest.shape, size)).astype(np.float32)
    weight[..., 0] = rng.choice([-1, 1], greatest.shape)
    found: F32 = (weight * greatest[..., None]).reshape(len(all_of), -1)
    return found


def library(weight: F32, size: int, bits: int) -> tuple[F32, F32, F32 | None]:
    """What the library itself makes of a weight: scales, decoded weights, its global scale."""
    import torch
    from compressed_tensors.quantization import QuantizationArgs
    from compressed_tensors.quantization.lifecycle.forward import fake_quantize
    from compressed_tensors.quantization.utils.helpers import calculate_qparams, generate_gparam

    nvidia = size == 16
    args = QuantizationArgs(
        num_bits=bits,
        type="float",
        symmetric=True,
        strategy="tensor_group" if nvidia else "group",
        group_size=size,
        scale_dtype=torch.float8_e4m3fn if nvidia else torch.uint8,
        zp_dtype=torch.float8_e4m3fn if nvidia else torch.uint8,
    )
    given = torch.from_numpy(weight)
    grouped = given.reshape(len(weight), -1, size)
    low, high = grouped.amin(-1), grouped.amax(-1)
    whole = generate_gparam(given.min(), given.max()) if nvidia else None
    scale, zero = calculate_qparams(low, high, args, global_scale=whole)
    decoded = fake_quantize(given, scale, zero, args, global_scale=whole)
    return scale.float().numpy(), decoded.numpy(), None if whole is None else whole.numpy()


@pytest.mark.parametrize(("name", "bits"), [("mxfp4", 4), ("mxfp6-e2m3", 6), ("mxfp8-e4m3", 8)])
def test_scales_of_blocks_are_the_librarys(name: str, bits: int) -> None:
    """From subnormals up, at the mantissas where rules part; from 1.75 * 2^127 its own is Inf."""
    rule = MAIN_PATH[f"MXFP{bits}A16"]
    weight = groups(32, range(-149, 127))
    found = quant.quantize(weight, rule)
    scales, decoded, _ = library(weight, 32, bits)
    assert rule.startswith(f"{name}:")
    np.testing.assert_array_equal(found.group_scales(), scales)
    np.testing.assert_array_equal(found.dequantize(), decoded)


def test_rules_part_where_the_greatest_magnitude_is_seven_quarters() -> None:
    """There rceil and compressed-tensors' MXFP8 differ, and nowhere else."""
    weight = groups(32, range(-20, 20))
    greatest = np.abs(weight.reshape(len(weight), -1, 32)).max(axis=2)
    scales, _, _ = library(weight, 32, 8)
    differs = quant.quantize(weight, "mxfp8-e4m3:rceil").group_scales() != scales
    np.testing.assert_array_equal(differs, np.frexp(greatest)[0] == 1.75 / 2)


@pytest.mark.parametrize("start", [-100, -60, -12, 0, 40, 100])
def test_nvfp4_is_the_librarys(start: int) -> None:
    weight = groups(16, range(start, start + 20))
    found = quant.quantize(weight, "nvfp4:global")
    scales, decoded, whole = library(weight, 16, 4)
    assert found.tensor_scale is not None
    assert whole is not None
    np.testing.assert_array_equal(found.tensor_scale, whole)
    np.testing.assert_array_equal(E4M3_ELEMENT.levels[found.scales.astype(int)], scales)
    np.testing.assert_array_equal(found.dequantize(), decoded)


def test_bad_requests_name_the_value() -> None:
    with pytest.raises(RequestError, match="100 are not whole groups of 64"):
        compat.asymmetric(np.ones((2, 100), np.float32), 4, 64)
    with pytest.raises(RequestError, match="do not fit 3 bits"):
        compat.pack_to_int32(np.full((1, 4), 7, np.int8), 3)
