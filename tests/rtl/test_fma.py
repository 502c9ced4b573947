"""The baseline FMAs give SoftFloat's result for every vector, in order and in time."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from hwsim.verilog.sources import RTL
from hwsim.verilog.toolchain import environment
from quant.common.progress import say
from tests.rtl.fma_vectors import golden, int8_as_half, operands, random_finite, write_vectors

pytestmark = pytest.mark.rtl
BENCH = Path(__file__).parent / "fma_tb.sv"
SOURCES = [*sorted((RTL / "baseline").glob("*.sv")), BENCH]
MODULES = pytest.mark.parametrize("int8", [False, True], ids=["fp16", "fp16_int8"])
QUICK, SLOW = 300_000, 3_000_000

Stream = Callable[..., tuple[int, int, int, str]]


def build(folder: Path, int8: bool, input_registers: bool) -> Path:
    """Build the bench around one of the modules and return its program."""
    command = ["verilator", "--binary", "-Wall", "-Wno-DECLFILENAME", "-O3", "--build-jobs", "2"]
    command += ["-CFLAGS", "-fcoroutines", "--top-module", "fma_tb", "--Mdir", str(folder)]
    command += [f"-GInt8={int(int8)}", f"-GInputRegisters={int(input_registers)}"]
    variables = {**os.environ, **environment()}
    done = subprocess.run(
        [*command, *map(str, SOURCES)], capture_output=True, text=True, check=False, env=variables
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "Vfma_tb"


@pytest.fixture(scope="module")
def stream(tmp_path_factory: pytest.TempPathFactory) -> Stream:
    """Return what streams a file of vectors through a module; each bench is built once."""
    programs: dict[tuple[bool, bool], Path] = {}

    def run(
        vectors: Path, int8: bool, input_registers: bool = True, gaps: bool = True
    ) -> tuple[int, int, int, str]:
        key = (int8, input_registers)
        if key not in programs:
            programs[key] = build(tmp_path_factory.mktemp("fma"), *key)
        command = [str(programs[key]), f"+vectors={vectors}", f"+gaps={int(gaps)}"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found = re.search(r"checked (\d+) mismatches (\d+) protocol_errors (\d+)", done.stdout)
        assert found is not None, done.stdout
        return int(found[1]), int(found[2]), int(found[3]), done.stdout

    return run


def counts_of(stream: Stream, folder: Path, count: int, seed: int, int8: bool) -> tuple[int, int]:
    """Stream fresh vectors; return how many there were beyond those checked, and mismatches."""
    abc = operands(count, seed, int8)
    assert abc.shape[1] >= count
    say(f"{abc.shape[1]} vectors through the FMA, beside SoftFloat ...")
    write_vectors(folder / "vectors", abc, golden(*abc), int8)
    checked, mismatches, protocol_errors, text = stream(folder / "vectors", int8)
    assert protocol_errors == 0
    assert mismatches == 0, text
    return abc.shape[1] - checked, mismatches


@MODULES
def test_every_result_is_softfloats(stream: Stream, tmp_path: Path, int8: bool) -> None:
    assert counts_of(stream, tmp_path, QUICK, 1, int8) == (0, 0)


@pytest.mark.slow
@MODULES
def test_every_result_of_millions_is_softfloats(stream: Stream, tmp_path: Path, int8: bool) -> None:
    assert counts_of(stream, tmp_path, SLOW, 2, int8) == (0, 0)


@MODULES
def test_without_input_registers_results_come_a_cycle_earlier(
    stream: Stream, tmp_path: Path, int8: bool
) -> None:
    abc = operands(1, 3, int8)[:, ::50]
    write_vectors(tmp_path / "vectors", abc, golden(*abc), int8)
    for gaps in (False, True):
        done = stream(tmp_path / "vectors", int8, input_registers=False, gaps=gaps)
        assert done[:3] == (abc.shape[1], 0, 0)


@MODULES
def test_a_wrong_expectation_is_reported(stream: Stream, tmp_path: Path, int8: bool) -> None:
    abc = operands(1, 4, int8)[:, :1000]
    z = golden(*abc)
    z[123] ^= 1
    write_vectors(tmp_path / "vectors", abc, z, int8)
    checked, mismatches, _, text = stream(tmp_path / "vectors", int8)
    assert (checked, mismatches) == (1000, 1)
    assert f"expected {z[123]:04x}, got {z[123] ^ 1:04x}" in text


def test_every_int8_is_exact_in_half() -> None:
    w = np.arange(-128, 128).astype(np.int8)
    assert (int8_as_half(w).view(np.float16).astype(np.int64) == w).all()


def fraction_of(code: int) -> Fraction:
    """Return the exact value of a finite binary16 code, from its fields alone."""
    exponent, mantissa = code >> 10 & 31, code & 1023
    significand = mantissa + 1024 * (exponent > 0)
    magnitude = significand * Fraction(2) ** (max(exponent, 1) - 25)
    return -magnitude if code >> 15 else magnitude


def nearest(value: Fraction) -> int:
    """Return the code nearest to a nonzero value, ties to the even code, by bisection."""
    sign, low, high = 0x8000 * (value < 0), 0, 0x7C00
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fraction_of(middle) <= abs(value) else (low, middle)
    # Infinity's code continues the normals, so its "value" is 2^16, as the standard rounds.
    border = (fraction_of(low) + fraction_of(high)) / 2
    up = abs(value) > border or (abs(value) == border and low % 2 == 1)
    return sign | (high if up else low)


def test_softfloat_agrees_with_exact_fractions() -> None:
    rng = np.random.default_rng(5)
    abc = np.stack([random_finite(rng, 2000) for _ in range(3)])
    close = operands(1, 6, int8=True)[:, ::997]
    abc = np.concatenate([abc, close[:, ((close & 0x7FFF) < 0x7C00).all(axis=0)]], axis=1)
    checked = 0
    for a, b, c, z in zip(*abc.tolist(), golden(*abc).tolist(), strict=True):
        exact = fraction_of(a) * fraction_of(b) + fraction_of(c)
        if exact != 0:
            checked += 1
            assert z == nearest(exact), f"{a:04x} {b:04x} {c:04x}"
    assert checked > 1900
