"""The PE: exact terms, kernels equal to the plain-integer specification, bounded errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import quant
from hwsim.pe import PUBLISHED, Arithmetic, matmul, pe_formats, term_count, term_table
from quant.common.errors import RequestError
from quant.formats.registry import FORMATS

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
    with pytest.raises(RequestError, match="lanes 0 is not allowed"):
        Arithmetic(lanes=0)


def small(name: str = "int4", scale: str = "int8") -> quant.QuantizedTensor:
    return quant.quantize(np.eye(4, 8, dtype=np.float32), name, group_size=8, scale=scale)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"output": "fp8"}, "unknown output 'fp8' .*fp16, fp32"),
        ({"nonfinite": "zero"}, "unknown nonfinite 'zero' .*nan, refuse"),
        ({"backend": "gpu"}, "unknown backend 'gpu' .*numba, reference"),
        ({"arithmetic": {}}, "arithmetic of type dict"),
        ({"activations": [["a"] * 8]}, "real numbers are needed"),
        ({"activations": [[1, 2], [3]]}, "are no array"),
        ({"activations": np.ones((1, 8), complex)}, "complex128: real numbers"),
        ({"weight": np.eye(8)}, "type ndarray: a QuantizedTensor"),
    ],
)
def test_bad_arguments_are_one_clear_line(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"weight": small(), "activations": np.ones((1, 8)), **change}
    with pytest.raises(RequestError, match=message) as raised:
        matmul(**arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("scale", "part", "value", "message"),
    [
        ("e4m3", "scales", 0x7F, r"e4m3 scale \[0, 0\] is 127: 0..126"),
        ("e4m3", "scales", 0xBF, r"e4m3 scale \[0, 0\] is 191"),
        ("e8m0", "scales", 0xFF, r"e8m0 scale \[0, 0\] is 255: 0..254"),
        ("int8", "row_scales", np.float16("nan"), r"factor of row \[0, 0\] is nan"),
        ("int8", "row_scales", np.float16(-1), r"factor of row \[0, 0\] is -1"),
        ("int8", "zero_points", 255, r"zero point \[0, 0\] is 255: 0..15"),
    ],
)
def test_broken_tensors_are_refused_by_place(
    scale: str, part: str, value: float, message: str
) -> None:
    qt = small("int4-asym" if part == "zero_points" else "int4", scale)
    array = np.array(getattr(qt, part))
    array.reshape(-1)[0] = value
    with pytest.raises(RequestError, match=message):
        matmul(replace(qt, **{part: array}), np.ones((1, 8)))  # type: ignore[arg-type]


@pytest.mark.parametrize("wrong", ["4", None, 4.0, True, 0, 65])
def test_lanes_are_whole_numbers(wrong: Any) -> None:  # noqa: ANN401  what users might give
    with pytest.raises(RequestError, match=r"lanes .* is not allowed"):
        Arithmetic(lanes=wrong)
    number: Any = np.int64(4)
    assert Arithmetic(lanes=number).lanes == 4


@pytest.mark.parametrize("width", [0, 1, 6])
def test_widths_of_terms_have_limits(width: int) -> None:
    with pytest.raises(RequestError, match=r"exponent_bits .* is not allowed"):
        term_table("int4", width)


def test_no_tokens_give_no_results() -> None:
    y, cycles = matmul(small(), np.ones((0, 8)))
    assert (y.shape, cycles) == ((0, 4), 0)


def test_torch_tensors_are_taken_as_they_are() -> None:
    import torch

    x = torch.full((1, 8), 1 + 2**-11 + 2**-40, dtype=torch.float64, requires_grad=True)
    assert np.array_equal(matmul(small(), x)[0], matmul(small(), x.detach().numpy())[0])
    with pytest.raises(RequestError, match=r"\[0, 0\] is nan"):
        matmul(small(), torch.full((1, 8), torch.nan, dtype=torch.bfloat16))
    with pytest.raises(RequestError, match="complex64"):
        matmul(small(), torch.ones((1, 8), dtype=torch.complex64))


def test_the_page_gives_the_steps_of_every_format() -> None:
    page = (Path(__file__).parent.parent.parent / "docs/pe_arithmetic.md").read_text()
    found: dict[str, list[str]] = {}
    for line in page.splitlines():
        if line.startswith("| `") and line.count("|") == 6:
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            found |= {name.strip("`"): cells[1:] for name in cells[0].split()}
    for name in pe_formats():
        steps = [term_table(name, w).steps if name in pe_formats(w) else "-" for w in range(2, 6)]
        assert found[name] == [str(step) for step in steps], name
