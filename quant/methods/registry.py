"""The methods by name."""

from __future__ import annotations

import importlib
from typing import Any

from quant.common.errors import unknown_name
from quant.methods.base import Method

_ENTRIES = (
    Method("rtn", "round to nearest", "none", "layer", "rtn"),
    Method("clip", "least squared error over 80 clipping factors", "optional", "layer", "clip"),
    Method("hqq", "HQQ (mobiusml.github.io/hqq_blog, 2023)", "none", "layer", "hqq"),
    Method("gptq", "GPTQ (arXiv 2210.17323)", "required", "layer", "gptq"),
    Method("awq", "AWQ (arXiv 2306.00978)", "required", "block", "awq"),
    Method("smoothquant", "SmoothQuant (arXiv 2211.10438)", "required", "block", "smoothquant"),
    Method("omniquant", "OmniQuant (arXiv 2308.13137)", "required", "block", "omniquant"),
    Method("peqa", "PEQA (arXiv 2305.14152)", "required", "model", "peqa"),
)
METHODS: dict[str, Method] = {entry.name: entry for entry in _ENTRIES}


def get_method(name: str) -> Method:
    """Return the method of that name.

    Raises:
        RequestError: no such method; the message gives the nearest names.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS)
    return METHODS[name]


def implementation(method: Method) -> Any:  # noqa: ANN401  a module
    """Return the module of a method; its ``quantize`` does the work."""
    return importlib.import_module(f"quant.methods.{method.module}")


def method_rows() -> list[dict[str, Any]]:
    """Return one row a method."""
    return [
        {"name": m.name, "calibration": m.calibration, "scope": m.scope, "source": m.source}
        for m in METHODS.values()
    ]
