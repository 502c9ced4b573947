"""The PE: exact terms, kernels equal to the plain-integer specification, bounded errors."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from numpy.typing import NDArray

import quant
from hwsim.pe import PUBLISHED, Arithmetic, matmul, pe_formats, reference, term_count, term_table
from quant.common.errors import RequestError
from quant.formats import FORMATS

RULES = [Arithmetic(), PUBLISHED, Arithmetic(lanes=3, guard_bits=5, accumulator_bits=9)]
F16 = NDArray[np.float16]


@pytest.mark.parametrize("name", pe_formats())
def test_terms_add_up_to_every_level(name: str) -> None:
    table, levels = term_table(name), FORMATS[name].tables
    for selector in range(levels.shape[0]):
        for code in range(levels.shape[1]):
            value = table.value(selector, code) * 2.0**table.unit_exponent
            assert table.has_value[selector, code] == np.isfinite(levels[selector, code])
            if table.has_value[selector, code]:
                assert value == levels[selector, code] - table.offset
            else:
                assert not table.man[selector, code].any()
    assert table.exp.max() < 2**table.exponent_bits


def test_steps_of_the_formats() -> None:
    steps = {name: term_count(name) for name in ("int2", "fp3", "int4", "bitmod3", "int6", "int8")}
    assert steps == {"int2": 1, "fp3": 1, "int4": 2, "bitmod3": 2, "int6": 3, "int8": 4}
    assert term_count(quant.parse_spec("bitmod4:g128:int8")) == 2


@pytest.mark.parametrize("name", ["fp16", "bf16", "fp32"])
def test_plain_formats_have_no_terms(name: str) -> None:
    with pytest.raises(RequestError, match="bit-serial PE; it takes"):
        term_table(name)


def random_words(rng: np.random.Generator, shape: tuple[int, int], spread: int) -> F16:
    words = rng.integers(0, 1 << 16, shape).astype(np.uint16)
    center = rng.integers(spread, 31 - spread) if spread < 15 else 15
    field = np.clip(center + rng.integers(-spread, spread + 1, shape), 0, 30).astype(np.uint16)
    return ((words & 0x83FF) | (field << 10)).view(np.float16)


def wide_enough(rule: Arithmetic, name: str) -> Arithmetic:
    return replace(rule, exponent_bits=term_table(name).exponent_bits)


def both(weight: NDArray[np.float32], name: str, x: F16, rule: Arithmetic, size: int = 64) -> None:
    rule = wide_enough(rule, name)
    qt = quant.quantize(weight, name, group_size=size, scale="int8")
    for skip in (False, True):
        y, cycles = matmul(qt, x, arithmetic=rule, skip_zero_steps=skip)
        wanted, wanted_cycles = matmul(
            qt, x, arithmetic=rule, skip_zero_steps=skip, backend="reference"
        )
        assert np.array_equal(y, wanted)
        assert cycles == wanted_cycles
    groups = [min(size, weight.shape[1] - at) for at in range(0, weight.shape[1], size)]
    full = sum(-(-n // rule.lanes) for n in groups) * term_count(name)
    assert matmul(qt, x, arithmetic=rule)[1] == full * len(x) * len(weight)


@pytest.mark.parametrize("name", pe_formats())
@pytest.mark.parametrize("rule", RULES, ids=["default", "published", "odd"])
def test_kernels_equal_the_reference(name: str, rule: Arithmetic) -> None:
    rng = np.random.default_rng([*name.encode(), rule.lanes, rule.accumulator_bits])
    weight = (rng.standard_normal((3, 90)) * 0.02).astype(np.float32)
    both(weight, name, random_words(rng, (2, 90), int(rng.integers(1, 16))), rule)


def group_dot_products(count: int, seed: int) -> None:
    """``count`` random group dot products over formats, group lengths and exponent spreads."""
    rng, done = np.random.default_rng(seed), 0
    names = pe_formats()
    while done < count:
        name, size = names[done % len(names)], int(rng.choice([5, 16, 32]))
        weight = rng.standard_normal((37, size * 16)).astype(np.float32)
        x = random_words(rng, (5, size * 16), int(rng.integers(0, 16)))
        qt = quant.quantize(weight, name, group_size=size, scale="int8")
        fast, slow = matmul(qt, x)[0], matmul(qt, x, backend="reference")[0]
        assert np.array_equal(fast, slow), (name, size, seed)
        done += 37 * 5 * 16


def test_random_group_dot_products() -> None:
    group_dot_products(10_000, seed=1)


@pytest.mark.slow
def test_a_hundred_thousand_group_dot_products() -> None:
    group_dot_products(100_000, seed=2)


def structured() -> dict[str, F16]:
    n = 128
    ones = np.ones((1, n), np.float16)
    alternate = np.where(np.arange(n) % 2, -1, 1).astype(np.float16)[None]
    ramp = np.ldexp(1.0, (np.arange(n) % 30) - 14).astype(np.float16)[None]
    return {
        "zeros": 0 * ones,
        "negative zeros": -0.0 * ones,
        "largest": ones * np.float16(65504),
        "smallest subnormals": ones * np.float16(2**-24),
        "largest subnormals": ones * np.float16(2**-14 - 2**-24),
        "cancellation": alternate * np.float16(65504),
        "every exponent": ramp,
        "falling exponents": ramp[:, ::-1],
        "one large among small": np.where(np.arange(n) == 77, 65504, 2.0**-24).astype(np.float16)[
            None
        ],
        "large then small": np.where(np.arange(n) < 4, 3e4, 1e-7).astype(np.float16)[None],
        "cancel then small": np.concatenate(
            [alternate[:, :64] * np.float16(6e4), ones[:, 64:] * np.float16(1e-6)], axis=1
        ),
    }


@pytest.mark.parametrize("corner", structured())
@pytest.mark.parametrize("name", ["int8", "int4-asym", "int8-asym", "bitmod3", "bitmod4", "fp3"])
def test_structured_corners(corner: str, name: str) -> None:
    rng = np.random.default_rng(5)
    weight = np.concatenate(
        [np.ones((1, 128)), -np.ones((1, 128)), np.zeros((1, 128)), rng.standard_normal((3, 128))]
    ).astype(np.float32)
    both(weight, name, structured()[corner], Arithmetic(), size=128)
    both(weight, name, structured()[corner], PUBLISHED, size=128)


@pytest.mark.parametrize("rule", [Arithmetic(), PUBLISHED], ids=["default", "published"])
@pytest.mark.parametrize("name", ["int8", "bitmod4", "fp3"])
def test_a_group_keeps_its_error_bound(name: str, rule: Arithmetic) -> None:
    rng, table = np.random.default_rng(8), term_table(name)
    for spread in (0, 3, 15):
        words = random_words(rng, (20, 128), spread).view(np.uint16)
        for row in words:
            inputs = [reference.decode_fp16(int(word)) for word in row]
            codes = [int(c) for c in rng.integers(0, table.sign.shape[1], 128)]
            got = reference.group_sum(inputs, codes, 0, table, rule)
            exact = sum(
                (exact_value(a) * table.value(0, c) for a, c in zip(inputs, codes, strict=True)),
                Fraction(0),
            )
            unit = Fraction(2) ** (got.partial.exponent - rule.point)
            # docs/pe_arithmetic.md: truncation of the lanes, then two floors, a step. No product
            # is above 2^top, no accumulator above 128 steps' worth of four such products.
            top = max(a.exponent for a in inputs) + int(table.exp.max()) + table.significance[-1]
            one = Fraction(2) ** (top - rule.point)
            width = 11 + rule.guard_bits + 2 + got.steps.bit_length()
            last = one * Fraction(2) ** max(0, width - rule.accumulator_bits)
            bound = got.steps * (rule.lanes * one + 2 * last)
            assert abs(got.partial.mantissa * unit - exact) <= bound


def exact_value(a: reference.Activation) -> Fraction:
    return Fraction((-1) ** a.sign * a.mantissa) * Fraction(2) ** (a.exponent - 25)


def test_real_numbers_come_out() -> None:
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((64, 512)) * 0.02).astype(np.float32)
    x = rng.standard_normal((8, 512)).astype(np.float16)
    qt = quant.quantize(weight, "bitmod4", scale="int8")
    exact = x.astype(np.float64) @ qt.dequantize().astype(np.float64).T
    y, _ = matmul(qt, x)
    assert np.abs(y - exact).mean() < 2e-3 * np.abs(exact).mean()


def test_bad_requests() -> None:
    qt = quant.quantize(np.eye(4, 8, dtype=np.float32), "int4", scale="int8")
    with pytest.raises(RequestError, match=r"\[tokens, 8\]"):
        matmul(qt, np.ones((2, 9), np.float16))
    with pytest.raises(RequestError, match=r"\[1, 3\] is nan"):
        matmul(qt, np.where(np.arange(16) == 11, np.nan, 1).reshape(2, 8))
    with pytest.raises(RequestError, match=r"\[0, 0\] is 100000"):
        matmul(qt, np.full((1, 8), 1e5))
    with pytest.raises(RequestError, match="takes scales int8, e8m0, e4m3, not 'fp16'"):
        matmul(quant.quantize(np.eye(4, dtype=np.float32), "int4"), np.ones((1, 4)))
    with pytest.raises(RequestError, match="lanes = 0"):
        Arithmetic(lanes=0)
