"""Jobs killed, or told that the disk is full, at their file operations: a share of the campaign."""

from __future__ import annotations

import pytest

from verification.reliability.faults import inject, spread
from verification.reliability.injection import FAULTS, can_inject

SHARE = {"save": 20, "stream": 6, "conversion": 5}
"""Job -> file operations for each kind of fault."""

pytestmark = pytest.mark.skipif(not can_inject(), reason="needs Linux and a C compiler")


@pytest.mark.parametrize(("job", "limit"), SHARE.items())
def test_whole_or_absent_after_any_fault(job: str, limit: int) -> None:
    found = list(inject(job, limit))
    assert [line for result in found for line in result.failed] == []
    assert [result.fault for result in found] == [fault.name for fault in FAULTS] * 2
    assert all(result.points == limit for result in found)


def test_a_sample_has_the_first_and_the_last() -> None:
    assert list(spread(3, None)) == list(spread(3, 9)) == [1, 2, 3]
    assert spread(100, 4) == [1, 34, 67, 100]
