"""Mean clocks of blocks and stored bits, counted from codes; compiled."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from hwsim.machines.elements.skipping import U64, Measured, Skipping
from quant.common.jit import jit
from quant.formats.spec import FormatSpec
from quant.rounding.packing import U8
from quant.tensors.quantize import quantize
from quant.tensors.tensor import QuantizedTensor

SAMPLE = (256, 2048)
"""Weights of a normal distribution from which the mean of a format without codes comes."""
WIDTHS = (64, 16384)
"""Inputs of that sample where whole rows share a scale: a power of two near the op's own."""


def measured(
    tensor: QuantizedTensor, skipping: Skipping, lanes: int, rows: int, size: int
) -> Measured:
    """Return the mean clocks of a tensor's blocks on an array; all activations are taken as needed.

    Args:
        tensor: The codes.
        skipping: What is passed over.
        lanes: Weights of a block.
        rows: Output channels of the array.
        size: Inputs within which blocks are cut: a group's, or all.
    """
    spec = tensor.spec
    groups = np.ascontiguousarray(tensor.group_selectors())
    steps, blocks, own, shares = _count(
        np.ascontiguousarray(tensor.unpack_codes()),
        np.broadcast_to(groups, (tensor.shape[0], groups.shape[1])),
        skipping.needs,
        (lanes, rows, min(size, tensor.shape[1]), spec.group_size),
        (skipping.lanes == "together", skipping.rows == "together"),
    )
    bits = float(spec.format.element_bits)
    if skipping.index_bits is not None:
        # A matrix whose columns are hardly ever empty is stored whole.
        kept = own * lanes + shares * skipping.index_bits
        bits = min(bits, kept / (tensor.shape[0] * tensor.shape[1]))
    return Measured(steps / blocks, bits)


def expected(
    spec: FormatSpec, skipping: Skipping, lanes: int, rows: int, size: int, width: int
) -> Measured:
    """Return the same of normally distributed weights, ``[256, width]``."""
    return measured(_sample(spec, width), skipping, lanes, rows, size)


def sample_width(spec: FormatSpec, inputs: int) -> int:
    """Return the inputs of the sample that stands for rows of so many."""
    if spec.group_size <= SAMPLE[1]:
        return SAMPLE[1]
    return int(np.clip(2 ** round(np.log2(max(1, inputs))), *WIDTHS))


@lru_cache(maxsize=64)
def _sample(spec: FormatSpec, width: int) -> QuantizedTensor:
    shape = SAMPLE[0], width
    return quantize(np.random.default_rng(0).standard_normal(shape).astype(np.float32), spec)


@jit
def _ones(bits: np.uint64) -> int:
    """Return how many bits are set."""
    count = 0
    while bits:
        bits &= bits - np.uint64(1)
        count += 1
    return count


@jit
def _count(
    codes: U8,
    selectors: U8,
    needs: U64,
    sizes: tuple[int, int, int, int],
    together: tuple[bool, bool],
) -> tuple[float, float, float, float]:
    """Return clocks and blocks of tiles, then steps and blocks of rows each on its own."""
    lanes, rows, size, group = sizes
    outputs, inputs = codes.shape
    steps, blocks, own, shares = 0.0, 0.0, 0.0, 0.0
    for first in range(0, outputs, rows):
        for start in range(0, inputs, size):
            for low in range(start, min(start + size, inputs), lanes):
                high = min(low + lanes, start + size, inputs)
                # Rows beyond the last one are fed code 0, which need not be a zero.
                slowest, union = 1, needs[0, 0] if first + rows > outputs else np.uint64(0)
                for row in range(first, min(first + rows, outputs)):
                    needed, longest = np.uint64(0), 0
                    for i in range(low, high):
                        place = min(i // group, selectors.shape[1] - 1)
                        one = needs[selectors[row, place], codes[row, i]]
                        needed |= one
                        if not together[0]:
                            longest = max(longest, _ones(one))
                    here = _ones(needed) if together[0] else longest
                    own += here
                    shares += 1.0
                    union |= needed
                    slowest = max(slowest, here)
                steps += max(1, _ones(union)) if together[1] else slowest
                blocks += 1.0
    return steps, blocks, own, shares
