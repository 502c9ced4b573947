"""Every single product of the PE, and that no format could have terms of fewer steps."""

from __future__ import annotations

import numpy as np
import pytest

from hwsim.pe import Arithmetic, term_table
from tests.verification import products, steps
from tests.verification.finding import Finding
from tests.verification.tensors import one_thread


def assert_found(findings: list[Finding]) -> None:
    for finding in findings:
        assert finding.count > 0
        assert finding.failures == 0, finding


def test_single_products_are_exact_or_cut_as_stated() -> None:
    with one_thread():
        assert_found([*products.exact_products("quick"), *products.cut_products("quick")])


def test_words_and_codes_that_are_no_numbers_are_refused() -> None:
    with one_thread():
        assert_found([products.refusals()])


def test_terms_are_right_and_no_fewer_steps_would_do() -> None:
    assert_found(steps.run())


@pytest.mark.slow
def test_every_single_product_is_exact_or_cut_as_stated() -> None:
    with one_thread():
        assert_found([*products.exact_products("full"), *products.cut_products("full")])


def test_the_search_finds_what_is_known() -> None:
    assert steps.fits(np.array([0, 1, 2, 3, 4, 6, 8, 12]), 2, 2)
    assert not steps.fits(np.array([11]), 2, 5)  # three digits at least
    assert not steps.fits(np.array([2**12]), 1, 2)  # beyond 3 + 6
    assert [steps.naf_digits(n) for n in (0, 1, 3, 7, 11, 85)] == [0, 1, 2, 2, 3, 4]


def test_a_table_with_a_step_too_many_would_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    table = term_table("int4")
    monkeypatch.setattr(steps, "term_table", lambda *_: table)
    assert steps.minimal("fp3", 2) is False


def test_a_wrong_term_would_be_found() -> None:
    table = term_table("int4")
    assert steps.wrong_terms("int4", table) == 0
    assert steps.wrong_terms("int5", table) > 0


def test_the_stated_truncation_cuts_toward_minus_infinity() -> None:
    rule = Arithmetic(guard_bits=0, accumulator_bits=8)
    one = [(np.ones(1, np.int64), np.zeros(1, np.int64))]
    words = np.array([511, 0x8000 | 511], np.uint16)
    cut = products.stated(words, one, rule)[:, 0] * 2.0**24
    assert cut.tolist() == [510, -512]
