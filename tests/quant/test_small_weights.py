"""No weight is too small: rounding knows no scale but the weights', down to subnormals."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

import quant
from quant.common.errors import RequestError
from quant.formats.registry import FORMATS
from quant.formats.scales import E4M3, E8M0, FP16, FP32, INT8, SCALES
from quant.formats.spec import FormatSpec

QUANTIZED = [name for name, entry in FORMATS.items() if not entry.is_plain]
GRIDS = [name for name in QUANTIZED if FORMATS[name].layout.is_grid]
POWERS = (14, 60, 88, -60)
SUBNORMAL = (118, 130, 145)
"""Weights of 0.05 times 2^-k have steps that are float32 subnormals, or are such themselves."""


def awkward() -> NDArray[np.float32]:
    weight = (np.random.default_rng(0).standard_t(4, (5, 150)) * 0.05).astype(np.float32)
    weight[1], weight[2, :40] = 0, 0.25
    weight[3] = np.abs(weight[3])
    return weight


def specs(name: str) -> Iterator[FormatSpec]:
    """Every rule and kind of scale that a format may have, in groups of 50 where it may."""
    entry = FORMATS[name]
    size = entry.group_size or 50
    for rule in entry.rules:
        for kind in SCALES.values():
            yield FormatSpec(entry, size, kind, rule)


@pytest.mark.parametrize("name", GRIDS)
def test_a_power_of_two_changes_no_bit(name: str) -> None:
    """With float32 scales; with the others the kernels still equal the reference."""
    weight = awkward()
    for spec in specs(name):
        plain = quant.quantize(weight, spec)
        for power in POWERS:
            moved = np.ldexp(weight, -power)
            fast = quant.quantize(moved, spec)
            slow = quant.quantize(moved, spec, backend="numpy").dequantize()
            np.testing.assert_array_equal(fast.dequantize(), slow, err_msg=f"{spec} {power}")
            if spec.scale == FP32:
                wanted = np.ldexp(plain.dequantize(), -power)
                np.testing.assert_array_equal(fast.dequantize(), wanted, err_msg=f"{spec} {power}")


@pytest.mark.parametrize("name", GRIDS)
def test_subnormal_weights_round_as_the_reference_says(name: str) -> None:
    for kind in (FP32, FP16, E8M0):
        spec = FormatSpec(FORMATS[name], 50, kind)
        for power in SUBNORMAL:
            moved = np.ldexp(awkward(), -power)
            fast = quant.quantize(moved, spec).dequantize()
            slow = quant.quantize(moved, spec, backend="numpy").dequantize()
            np.testing.assert_array_equal(fast, slow, err_msg=f"{spec} {power}")
            assert np.isfinite(fast).all(), f"{spec} {power}"


@pytest.mark.parametrize("name", ["olive-int4", "olive-flint4", "olive-int8"])
def test_outlier_pairs_know_no_scale_either(name: str) -> None:
    plain = quant.quantize(awkward(), name, scale="fp32").dequantize()
    for power in POWERS:
        found = quant.quantize(np.ldexp(awkward(), -power), name, scale="fp32").dequantize()
        np.testing.assert_array_equal(found, np.ldexp(plain, -power))


@pytest.mark.parametrize("scale", ["fp16", "fp32", "int8", "e8m0", "e4m3"])
@pytest.mark.parametrize(
    "name", ["int8", "int8:full-range", "int8-asym", "int8-asym:minmax", "int8-asym:float-zero"]
)
def test_int8_of_tiny_weights(name: str, scale: str) -> None:
    """A standard deviation of 1e-6 was rounded to zeros, below a floor of 1e-5 for scales.

    fp16's least number is 6e-8, two steps of these weights: coarse, but no zeros.
    """
    weight = (np.random.default_rng(1).standard_normal((16, 256)) * 1e-6).astype(np.float32)
    decoded = quant.quantize(weight, name, group_size=128, scale=scale).dequantize()
    missed = np.linalg.norm(decoded - weight) / np.linalg.norm(weight)
    assert missed < (0.02 if scale in {"fp32", "e8m0", "e4m3"} else 0.03)


@pytest.mark.parametrize("value", [1e-6, 1e-12, 1e-37])
def test_absmean_knows_no_floor(value: float) -> None:
    weight = np.array([[value, -value, value, value]], np.float32)
    for name in ("ternary", "binary"):
        np.testing.assert_array_equal(
            quant.quantize(weight, name, scale="fp32").dequantize(), weight
        )


@pytest.mark.parametrize("name", QUANTIZED)
def test_zeros_stay_zeros(name: str) -> None:
    """But under E8M0 and NVIDIA's E4M3, which have no scale of 0, in grids without a level of 0."""
    weight = np.zeros((3, 150), np.float32)
    weight[2, 120:] = 0.3
    for kind in SCALES.values():
        entry = FORMATS[name]
        if kind in {E8M0, E4M3} and not (entry.tables == 0).any(axis=1).all():
            continue
        try:
            spec = FormatSpec(entry, entry.group_size or 50, kind)
        except RequestError:  # a layout with scales of its own
            continue
        decoded = quant.quantize(weight, spec).dequantize()
        assert not decoded[:2].any(), f"{spec}"
        assert not decoded[2, :50].any() or spec.group_size > 100, f"{spec}"


def test_scales_are_what_their_storage_can_hold() -> None:
    raw = np.array([[0.0, 1e-30, 2.0**-24, 3.4e-6, 1e-3, 7e4, 3e38]], np.float32)
    half = FP16.store(raw).used[0]
    np.testing.assert_array_equal(half[:3], [0, 2.0**-24, 2.0**-24])
    np.testing.assert_array_equal(half[3:5], raw[0, 3:5].astype(np.float16))
    np.testing.assert_array_equal(half[5:], 65504)
    np.testing.assert_array_equal(FP32.store(raw).used, raw)
    under = INT8.store(raw[:, :5])
    assert under.rows is not None
    np.testing.assert_array_equal(under.stored[0], [0, 1, 1, 1, 254])
    assert under.rows[0] >= np.float32(1e-3) / 255


@pytest.mark.parametrize("scale", ["fp16", "fp32", "int8"])
@pytest.mark.parametrize("center", [1e-4, 0.05, 3.0, -40.0])
@pytest.mark.parametrize("spread", [0.0, 1e-7, 1e-4, 0.3])
def test_float_zero_points_hold_groups_far_from_zero(
    scale: str, center: float, spread: float
) -> None:
    """A zero point is fp16: groups that spread little keep their place, to eleven bits."""
    noise = np.random.default_rng(2).uniform(-1, 1, (4, 64))
    weight = (center * (1 + spread * noise)).astype(np.float32)
    for bits in (1, 4, 8):
        name = f"int{bits}-asym:g64:{scale}:float-zero"
        fast = quant.quantize(weight, name)
        slow = quant.quantize(weight, name, backend="numpy")
        np.testing.assert_array_equal(fast.dequantize(), slow.dequantize())
        missed = np.abs(fast.dequantize() - weight).max() / abs(center)
        assert missed <= spread / (2**bits - 1) + 2.0**-11 + 2.0**-12


def test_a_range_beyond_float32() -> None:
    weight = np.array([[-3e38, 3e38, 1e38, 0]], np.float32)
    decoded = quant.quantize(weight, "int8-asym", scale="fp32").dequantize()
    np.testing.assert_allclose(decoded, weight, atol=1.3e36)
