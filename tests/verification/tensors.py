"""Quantized weights made from codes, and activations made from words, for the PE's verification."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from quant.formats.registry import get_format
from quant.formats.scales import scale_kind
from quant.formats.spec import FormatSpec
from quant.rounding.packing import U8, pack
from quant.tensors.tensor import QuantizedTensor

Words = NDArray[np.uint16]
F64 = NDArray[np.float64]
WORD_BITS = {"fp16": 16, "bf16": 16, "fp8-e4m3": 8, "fp8-e5m2": 8, "int8": 8}
"""Width of a word of each activation format."""
LAYOUT = {"fp16": (5, 10), "bf16": (8, 7), "fp8-e4m3": (4, 3), "fp8-e5m2": (5, 2)}
"""Exponent and fraction bits: IEEE 754-2019 table 3.5, bfloat16, OCP OFP8 table 1."""


def all_words(activation: str) -> Words:
    """Return every word of an activation format, rising."""
    return np.arange(1 << WORD_BITS[activation], dtype=np.uint32).astype(np.uint16)


def is_finite(words: Words, activation: str) -> NDArray[np.bool_]:
    """Return which words are numbers; E4M3 has no infinities and one NaN of each sign."""
    if activation == "int8":
        return np.ones(words.shape, np.bool_)
    if activation == "fp8-e4m3":
        return np.asarray((words & 0x7F) != 0x7F)
    exponent, fraction = LAYOUT[activation]
    top = (1 << exponent) - 1
    return np.asarray((words >> fraction & top) != top)


def values(words: Words, activation: str) -> F64:
    """Return the value of words, exact; NaN for all that are not finite."""
    raw = words.astype(np.int64)
    if activation == "int8":
        return np.where(raw >= 128, raw - 256, raw).astype(np.float64)
    exponent, fraction = LAYOUT[activation]
    field = raw >> fraction & ((1 << exponent) - 1)
    part = (raw & ((1 << fraction) - 1)) + np.where(field > 0, 1 << fraction, 0)
    bias = (1 << (exponent - 1)) - 1
    magnitude = np.ldexp(part.astype(np.float64), np.maximum(field, 1) - bias - fraction)
    negative = raw >> (exponent + fraction) & 1 == 1
    number = np.where(negative, -magnitude, magnitude)
    return np.where(is_finite(words, activation), number, np.nan)


def tensor(
    name: str,
    codes: U8,
    size: int,
    *,
    scale: str = "int8",
    scales: U8 | None = None,
    selectors: U8 | None = None,
    zero_points: U8 | None = None,
    row_scales: NDArray[np.float16] | None = None,
    tensor_scale: float = 1.0,
) -> QuantizedTensor:
    """Return a weight that has these codes.

    Args:
        name: Format.
        codes: ``[out, in]``.
        size: Weights of a group.
        scale: Kind of group scales.
        scales: Their codes, ``[out, groups]``; None: all mean 1.
        selectors: ``[out, groups]``; None: 0; all 0 for a format of one table.
        zero_points: ``[out, groups]``; None: 0 where the format has them.
        row_scales: ``[out]``, for int8; None: 1.
        tensor_scale: For e4m3.
    """
    entry = get_format(name)
    shape = (codes.shape[0], -(-codes.shape[1] // size))
    one = {"int8": 1, "e8m0": 127, "e4m3": 0x38}[scale]
    rows = np.ones(shape[0], np.float16) if row_scales is None else row_scales
    if zero_points is None and entry.zero_point_bits:
        zero_points = np.zeros(shape, np.uint8)
    spec = FormatSpec(entry, size, scale_kind(scale))
    if not spec.has_selectors:
        assert selectors is None or not selectors.any(), f"{name} has one table"
        selectors = None
    else:
        chosen = np.zeros(shape, np.uint8) if selectors is None else selectors
        selectors = chosen[:1, :1] if spec.selects_per_tensor else chosen
        assert np.array_equal(np.broadcast_to(selectors, shape), chosen), f"{name}: one for all"
    return QuantizedTensor(
        spec=spec,
        shape=(codes.shape[0], codes.shape[1]),
        codes=pack(codes, entry.element_bits),
        scales=np.full(shape, one, np.uint8) if scales is None else scales,
        row_scales=rows if scale == "int8" else None,
        selectors=selectors,
        zero_points=zero_points,
        tensor_scale=np.array([tensor_scale], np.float32) if spec.has_tensor_scale else None,
    )


def same_bits(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where two float arrays of one type have the same bits (-0 is not 0)."""
    unsigned = {2: np.uint16, 4: np.uint32}[a.dtype.itemsize]
    return np.asarray(a.view(unsigned) == b.astype(a.dtype).view(unsigned))


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep kernels to one thread: waking a second one takes longer than a small product."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        yield
    finally:
        numba.set_num_threads(before)
