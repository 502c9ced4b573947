"""Blocks of GGUF: what the gguf package decodes from them is what our codes mean."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize

import quant
from quant.checkpoints.gguf_encode import ENCODINGS, encoded
from quant.common.errors import RequestError


def weight(columns: int = 512) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((6, columns)).astype(np.float32) * 0.02


@pytest.mark.parametrize(
    ("format_", "block"),
    [
        ("int4:g32", "Q4_0"), ("int4:g128:full-range", "Q4_0"), ("int3:row", "Q4_0"),
        ("int4-asym:g32", "Q5_0"), ("int4-asym:g32:e8m0", "Q4_1"), ("int4-asym:g256", "Q4_K"),
        ("int3-asym:row", "Q4_0"), ("int5:g64", "Q5_0"), ("int5-asym:g32:e8m0", "Q5_1"),
        ("int5-asym:g256", "Q5_K"), ("int6:g256", "Q6_K"), ("int6:g32", "Q8_0"),
        ("int8:g32:no-clip", "Q8_0"), ("int6-asym:g32", "Q8_0"), ("mxfp4", "MXFP4"),
        ("mxfp4:even", "MXFP4"), ("fp4:g32", "Q5_0"), ("bitmod4:g64", "Q8_0"),
    ],
)  # fmt: skip
def test_blocks_decode_to_the_same_float32(format_: str, block: str) -> None:
    qt = quant.quantize(weight(), format_)
    encoding, rows = encoded("layer", qt)
    kind = gguf.GGMLQuantizationType[encoding.name]
    assert gguf.GGML_QUANT_SIZES[kind] == (encoding.weights, encoding.size)
    assert np.array_equal(dequantize(rows, kind), qt.dequantize())
    assert encoding.name == block


def test_offsets_that_float16_holds_stay_in_q4_1() -> None:
    """Scales of few bits: ``zero * scale`` is exact."""
    qt = quant.quantize(np.rint(weight() * 300), "int4-asym:g32")
    steps = qt.scales.astype(np.float32).copy()
    steps[:] = np.exp2(np.rint(np.log2(steps)))
    exact = type(qt)(qt.spec, qt.shape, qt.codes, steps.astype(np.float16),
                     zero_points=qt.zero_points)  # fmt: skip
    encoding, rows = encoded("layer", exact)
    assert encoding.name == "Q4_1"
    found = dequantize(rows, gguf.GGMLQuantizationType.Q4_1)
    assert np.array_equal(found, exact.dequantize())


def test_smallest_comes_first() -> None:
    bits = [encoding.size * 8 / encoding.weights for encoding in ENCODINGS]
    assert bits == sorted(bits)


@pytest.mark.parametrize(
    "format_", ["nf4:g32", "int4:g16", "int4:g32:int8", "int8-asym:g32", "nvfp4", "int4:g32:fp32"]
)
def test_what_no_block_holds_is_refused(format_: str) -> None:
    with pytest.raises(RequestError, match=f"layer a.b: {format_}.* no block type of GGUF holds"):
        encoded("a.b", quant.quantize(weight(), format_))
    with pytest.raises(RequestError, match="rows of 48: no block type"):
        encoded("a.b", quant.quantize(weight(48), "int4:g16"))
