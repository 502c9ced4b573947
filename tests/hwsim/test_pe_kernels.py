"""Fast kernels, general kernels and the plain-integer specification give the same bits."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from numpy.typing import NDArray

import quant
from hwsim.pe import ACTIVATIONS, PUBLISHED, Arithmetic, matmul, term_table
from hwsim.pe.kernels import narrow as narrow_kernels
from quant.formats.elements import F32
from quant.tensors.tensor import QuantizedTensor

OWN_SCALES = {"mxfp4": 32, "nvfp4": 16}
FORMATS = (
    "bitmod3", "bitmod4", "int2", "int4", "int4-asym", "int8", "fp3", "fp6-e2m3", "mxfp4", "nvfp4",
    "fp8-e4m3",
)  # fmt: skip
NARROW = {
    "default": Arithmetic(),
    "published": PUBLISHED,
    "no guard": Arithmetic(guard_bits=0),
    "short accumulator": Arithmetic(accumulator_bits=8),
    "long accumulator": Arithmetic(accumulator_bits=28),
    "bf16": Arithmetic(activation="bf16"),
    "bf16, 14 bits": Arithmetic(activation="bf16", guard_bits=6),
    "fp8-e4m3": Arithmetic(activation="fp8-e4m3"),
    "fp8-e5m2": Arithmetic(activation="fp8-e5m2"),
    "int8": Arithmetic(activation="int8"),
}
GENERAL = {
    "2 lanes": Arithmetic(lanes=2),
    "8 lanes": Arithmetic(lanes=8),
    "15 bits": Arithmetic(guard_bits=4),
}
Result = tuple[F32, int]


def quantized(shape: tuple[int, int], name: str, size: int = 64, seed: int = 0) -> QuantizedTensor:
    weight = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    if name in OWN_SCALES:
        return quant.quantize(weight, name)
    return quant.quantize(weight, name, group_size=size, scale="int8")


def fitted(rule: Arithmetic, name: str) -> Arithmetic:
    return replace(rule, exponent_bits=term_table(name).exponent_bits)


def activations(
    rule: Arithmetic, shape: tuple[int, int], seed: int = 0, spread: float = 4
) -> NDArray[np.float32]:
    """Numbers of many exponents, one in five zero."""
    rng = np.random.default_rng(seed)
    values = rng.integers(-128, 128, shape).astype(np.float64)
    if rule.activation != "int8":
        largest = 2.0 ** (ACTIVATIONS[rule.activation].largest_exponent // 4)
        values = rng.standard_normal(shape) * np.exp2(rng.normal(0, spread, shape))
        values = np.clip(values, -largest, largest)
    return np.where(rng.random(shape) < 0.2, 0, values).astype(np.float32)


def run(qt: QuantizedTensor, x: NDArray[Any], rule: Arithmetic, backend: str) -> Result:
    """Results and busy steps of "narrow", "general" or "reference"."""
    narrow = backend == "narrow"
    assert not narrow or narrow_kernels.fits(rule)
    with patch.object(narrow_kernels, "fits", return_value=narrow):
        if backend == "reference":
            return matmul(qt, x, arithmetic=rule, skip_zero_steps=True, backend="reference")
        return matmul(qt, x, arithmetic=rule, skip_zero_steps=True)


def same(a: Result, b: Result) -> None:
    assert np.array_equal(a[0].view(np.uint32), b[0].view(np.uint32))  # the signs of zeros too
    assert a[1] == b[1]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rule", NARROW.values(), ids=NARROW)
def test_both_kernels_equal_the_reference(rule: Arithmetic, name: str) -> None:
    rule = fitted(rule, name)
    qt, x = quantized((3, 70), name, size=24), activations(rule, (2, 70))
    wanted = run(qt, x, rule, "reference")
    same(run(qt, x, rule, "narrow"), wanted)
    same(run(qt, x, rule, "general"), wanted)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rule", GENERAL.values(), ids=GENERAL)
def test_other_widths_take_the_general_kernels(rule: Arithmetic, name: str) -> None:
    rule = fitted(rule, name)
    assert not narrow_kernels.fits(rule)
    qt, x = quantized((3, 70), name, size=24), activations(rule, (2, 70))
    same(matmul(qt, x, arithmetic=rule, skip_zero_steps=True), run(qt, x, rule, "reference"))


@pytest.mark.parametrize("rows", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("name", FORMATS)
def test_ragged_shapes(name: str, rows: int) -> None:
    """Groups that end within a block or a chunk, short last groups, part of a tile, one token."""
    for columns, size, tokens in ((1, 128, 1), (150, 128, 1), (200, 100, 3), (259, 13, 2)):
        for rule in (fitted(Arithmetic(), name), fitted(PUBLISHED, name)):
            qt = quantized((rows, columns), name, size, seed=columns)
            x = activations(rule, (tokens, columns), seed=rows)
            same(run(qt, x, rule, "narrow"), run(qt, x, rule, "general"))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("rule", NARROW.values(), ids=NARROW)
def test_many_random_groups(rule: Arithmetic, name: str) -> None:
    rule = fitted(rule, name)
    for spread in (0.5, 3, 8):
        qt = quantized((128, 512), name, 128, seed=int(10 * spread))
        x = activations(rule, (8, 512), int(spread), spread)
        same(run(qt, x, rule, "narrow"), run(qt, x, rule, "general"))


def corners() -> dict[str, NDArray[np.float16]]:
    ones, place = np.ones((1, 64), np.float16), np.arange(64)[None]
    turns = np.where(place % 2, -1, 1).astype(np.float16)
    return {
        "zeros": 0 * ones,
        "negative zeros": -0.0 * ones,
        "largest": ones * np.float16(65504),
        "largest, negative": ones * np.float16(-65504),
        "smallest": ones * np.float16(2**-24),
        "largest subnormals": turns * np.float16(2**-14 - 2**-24),
        "cancellation": turns * np.float16(65504),
        "rising": np.ldexp(1.0, place % 30 - 14).astype(np.float16),
        "falling": np.ldexp(1.0, 15 - place % 30).astype(np.float16),
        "one among small": np.where(place == 37, 65504, 2.0**-24).astype(np.float16),
        "large, then zeros": np.where(place < 8, -65504, 0).astype(np.float16),
    }


@pytest.mark.parametrize("corner", corners())
@pytest.mark.parametrize("name", ["int4-asym", "bitmod4", "int8", "fp8-e4m3"])
def test_corners(name: str, corner: str) -> None:
    values = np.random.default_rng(1).standard_normal((2, 64))
    weight = np.concatenate([np.ones((1, 64)), -np.ones((1, 64)), np.zeros((1, 64)), values])
    qt = quant.quantize(weight.astype(np.float32), name, group_size=64, scale="int8")
    for rule in (Arithmetic(), PUBLISHED, Arithmetic(guard_bits=0, accumulator_bits=8)):
        wide = fitted(rule, name)
        wanted = run(qt, corners()[corner], wide, "reference")
        same(run(qt, corners()[corner], wide, "narrow"), wanted)
        same(run(qt, corners()[corner], wide, "general"), wanted)


ELSEWHERE = """
import pickle, sys
from hwsim.pe import matmul
cases = pickle.load(sys.stdin.buffer)
results = [matmul(qt, x, arithmetic=rule, skip_zero_steps=True) for qt, x, rule in cases]
pickle.dump(results, sys.stdout.buffer)
"""


def test_the_same_without_compilation() -> None:
    """Uncompiled numpy scalars warn of overflows, which are errors here."""
    cases = []
    for name in ("bitmod4", "int4-asym"):
        for rule in (NARROW["default"], NARROW["short accumulator"], GENERAL["2 lanes"]):
            wide = fitted(rule, name)
            cases.append((quantized((3, 14), name, size=8), activations(wide, (2, 14)), wide))
    same_elsewhere(cases, {"NUMBA_DISABLE_JIT": "1"})


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_do_not_matter(threads: int) -> None:
    """In a process of its own: a test worker may have one thread only."""
    general = Arithmetic(lanes=2)
    cases = [
        (quantized((300, 256), "bitmod4"), activations(rule, (3, 256)), rule)
        for rule in (Arithmetic(), general)
    ]
    same_elsewhere(cases, {"NUMBA_NUM_THREADS": str(threads)})


def same_elsewhere(cases: list[Any], variables: dict[str, str]) -> None:
    """The same results in another process with these variables; warnings are errors there."""
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", ELSEWHERE],
        input=pickle.dumps(cases), capture_output=True, check=False,
        env=os.environ | variables,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    for (qt, x, rule), result in zip(cases, pickle.loads(done.stdout), strict=True):
        same(matmul(qt, x, arithmetic=rule, skip_zero_steps=True), result)
