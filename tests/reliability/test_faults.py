"""Jobs killed, or told that the disk is full, at their file operations: a share of the campaign."""

from __future__ import annotations

import pytest

from verification.reliability.faults import inject, spread
from verification.reliability.injection import FAULTS, can_inject

JOBS = ("save", "stream", "conversion")
SHARE = 4
"""File operations for each kind of fault; the campaign has all of them."""

pytestmark = pytest.mark.skipif(not can_inject(), reason="needs Linux and a C compiler")


def test_whole_or_absent_after_any_fault() -> None:
    found = list(inject(JOBS, SHARE))
    assert [line for result in found for line in result.failed] == []
    # Each job where nothing is, and where something is already.
    assert [result.fault for result in found] == [fault.name for fault in FAULTS] * 2 * len(JOBS)
    assert all(result.points == SHARE for result in found)


def test_a_sample_has_the_first_and_the_last() -> None:
    assert list(spread(3, None)) == list(spread(3, 9)) == [1, 2, 3]
    assert spread(100, 4) == [1, 34, 67, 100]
