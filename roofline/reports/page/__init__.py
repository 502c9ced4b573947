"""The report as one HTML file that works without a network, and recomputes what-ifs by itself."""

from __future__ import annotations

from importlib import resources

from roofline.reports.page.data import PageRequest, page_data
from roofline.reports.page.encode import to_script

__all__ = ["PageRequest", "to_page"]
PARTS = resources.files("roofline.reports") / "page"


def to_page(request: PageRequest) -> str:
    """Return the page: markup, style, program and data in one text.

    The data holds every op's work as coefficients and expressions (``workloads.amounts``); the
    program only evaluates them. Names reach the page as text, never as markup.

    Args:
        request: What to show first, and what to offer.

    Raises:
        RequestError: as ``workload``.
    """
    text = (PARTS / "page.html").read_text(encoding="utf-8")
    parts = {"/*style*/": "page.css", "/*program*/": "page.js"}
    for mark, name in parts.items():
        text = text.replace(mark, (PARTS / name).read_text(encoding="utf-8"))
    return text.replace('"data"', to_script(page_data(request)))
