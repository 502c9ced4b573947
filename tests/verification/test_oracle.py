"""The PE's dot products: kernels, the int64 oracle and the plain-integer reference, bit for bit."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from hwsim.pe import reference
from tests.verification import bias, campaign, cases, corners, oracle, products
from tests.verification.cases import Tally


def test_kernels_equal_the_oracle() -> None:
    assert campaign.against_oracle(40_000, seed=1).failures == 0


@pytest.mark.parametrize("name", ["int4", "int8-asym", "bitmod3", "fp8-e5m2"])
def test_kernels_and_oracle_equal_the_reference(name: str) -> None:
    tally = campaign.reference_part(name, 12345)
    assert tally.count >= 1000
    assert tally.failures == 0


def test_structured_corners_agree() -> None:
    findings = corners.run("quick")
    assert [finding.failures for finding in findings] == [0, 0]


def test_a_narrow_accumulator_has_the_larger_floor_bias() -> None:
    assert -1 < bias.bias("int4", 14) < -0.1 < bias.bias("int4", 22) < 0


@pytest.mark.slow
def test_a_million_dot_products_equal_the_oracle() -> None:
    tally = campaign.against_oracle(1_000_000, seed=2)
    assert tally.count >= 1_000_000
    assert tally.failures == 0


@pytest.mark.slow
def test_every_format_equals_the_reference(tmp_path: Path) -> None:
    tallies = campaign.against_reference(1000, tmp_path)
    assert sum(tally.count for tally in tallies.values()) >= 20_000
    assert all(tally.failures == 0 for tally in tallies.values())


@pytest.mark.slow
def test_all_corners_and_the_longest_groups_agree() -> None:
    assert all(finding.failures == 0 for finding in corners.run("full"))


def test_a_wrong_bit_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def one_off(
        weight: object, words: object, rule: object, to: tuple[int, int, int] = oracle.FP32
    ) -> tuple[NDArray[np.float64], int]:
        y, busy = right(weight, words, rule, to)  # type: ignore[arg-type]
        y[0, 0] = np.nextafter(np.float32(y[0, 0]), np.float32(np.inf))
        return y, busy

    right = oracle.output
    case = next(iter(cases.random_cases(1, seed=3)))
    assert cases.compare(case).failures == 0
    monkeypatch.setattr(oracle, "output", one_off)
    assert cases.compare(case).failures == 1


def test_a_stopped_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "pe_formats", lambda: ["int2"])
    monkeypatch.setattr(
        campaign, "ProcessPoolExecutor", lambda workers, mp_context: ThreadPoolExecutor(workers)
    )
    assert campaign.against_reference(1000, tmp_path, 1)["int2"].count >= 1000
    (file,) = tmp_path.iterdir()
    state = json.loads(file.read_text())
    state["int2"][0][1] = 777  # what is there is not run again
    file.write_text(json.dumps(state))
    more = campaign.against_reference(2000, tmp_path, 1)["int2"]
    assert 1777 <= more.count < 2000
    assert more.failures == 0


@pytest.mark.parametrize("to", [oracle.FP32, oracle.FP16])
def test_both_roundings_equal_rationals(to: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(4)
    precision, least, overflow = to
    bits = rng.integers(0, 1 << (precision + 2), 4000).astype(np.float64)
    x = np.ldexp(bits, rng.integers(least - 6, overflow - precision, 4000)) * rng.choice(
        [-1, 1], 4000
    )
    exact = [reference.rounded(Fraction(float(v)), reference.Binary(*to)) for v in x]
    assert np.array_equal(oracle.rounded(x, to), exact)
    if to == oracle.FP32:
        assert np.array_equal(products.rounded(x).astype(np.float64), exact)


def test_tallies_add() -> None:
    assert Tally(1, 2) + Tally(3, 4) == Tally(4, 6)
