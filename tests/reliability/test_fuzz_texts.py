"""Texts that Hypothesis makes up, at the edges that read text."""

from __future__ import annotations

import json
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant.common.errors import HwsimError
from verification.reliability.fuzz import EDGES
from verification.reliability.fuzz_edge import Target

KINDS = ("device", "accelerator", "plan", "grid", "space", "calibration")
quickly = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
names = st.sampled_from(
    ["name", "kind", "schema", "layers", "levels", "rows", "value", "source", "devices", "*"]
)
leaves = (
    st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=["Cs"]))
)
trees = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=3), inner),
    max_leaves=12,
)
documents = st.dictionaries(names, trees, max_size=6)
pieces = st.sampled_from(
    [":", "g", "row", "fp16", "int", "4", "-asym", "bitmod3", "mxfp4", ".toml"]
)


@cache
def _target(edge: str, folder: Path) -> Target:
    return EDGES[edge].target(folder)


def _is_ours(edge: str, folder: Path, data: bytes) -> None:
    """Let an edge read an input; nothing but our own errors may rise."""
    with suppress(HwsimError):
        _target(edge, folder).accepts(data)


@given(text=st.text() | st.lists(pieces, max_size=8).map("".join))
@settings(quickly, max_examples=400)
def test_formats(text: str, tmp_path: Path) -> None:
    _is_ours("formats", tmp_path, text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize("kind", KINDS)
@given(document=documents)
@quickly
def test_toml_of_each_kind(document: dict[str, Any], kind: str, tmp_path: Path) -> None:
    try:
        text = tomli_w.dumps(document)
    except (TypeError, ValueError):
        return
    _is_ours(kind, tmp_path, text.encode())


@pytest.mark.parametrize("kind", ["config", *KINDS])
@given(data=st.binary(max_size=200))
@quickly
def test_bytes(data: bytes, kind: str, tmp_path: Path) -> None:
    _is_ours(kind, tmp_path, data)


@given(document=st.dictionaries(st.text(), trees))
@quickly
def test_configs(document: dict[str, Any], tmp_path: Path) -> None:
    _is_ours("config", tmp_path, json.dumps({"model_type": "llama", **document}).encode())
