"""Fail unless a pytest report (junit XML) has Verilog simulations that ran and passed."""

from __future__ import annotations

import sys
from xml.etree import ElementTree


def simulated(report: str) -> int:
    """Return how many tests under tests/rtl ran (skipped ones do not count)."""
    cases = ElementTree.parse(report).iter("testcase")
    rtl = [case for case in cases if case.get("classname", "").startswith("tests.rtl")]
    return sum(case.find("skipped") is None for case in rtl)


if __name__ == "__main__":
    ran = simulated(sys.argv[1])
    print(f"Verilog simulation tests that ran: {ran}")
    sys.exit(0 if ran else "no Verilog was simulated")
