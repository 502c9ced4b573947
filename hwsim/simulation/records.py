"""The rows that the cost function reads and writes: of ops, of machines, of costs.

One row of an op and one of a machine say all that a cost follows from, so that a simulation of one
machine and a sweep over millions run the same compiled function.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, TypeAlias

import numpy as np

WHOLE, REAL = np.int64, np.float64
Record: TypeAlias = Any
"""A row, or an array of rows: neither numpy nor numba has types for their fields."""

OP = np.dtype(
    [
        ("product", WHOLE),  # whether the array multiplies; else the rest up to the bytes is 0
        ("batch", WHOLE),  # products that share nothing: [m, k] x [k, n] each
        ("m", WHOLE),
        ("n", WHOLE),
        ("k", WHOLE),
        ("shared", WHOLE),  # rows of m that one token has: query heads of a key head
        ("past", WHOLE),  # keys before the first token
        ("window", WHOLE),  # keys that a token sees; 0: all before it
        ("mask", WHOLE),  # Mask
        ("law", WHOLE),  # Law of the elements' clocks
        ("steps", REAL),  # clocks of a block
        ("size", WHOLE),  # weights of a group
        ("group_clocks", WHOLE),
        ("job_clocks", WHOLE),
        ("held_bits", REAL),  # of a weight in the buffer, its part of scales and zero points too
        ("input_bits", REAL),  # of an input in the buffer
        ("output_bits", REAL),  # of an output
        ("weight_bytes", REAL),  # of all that plays the weights, once
        ("input_bytes", REAL),
        ("output_bytes", REAL),  # and all else that crosses the memory interface
        ("scores", WHOLE),  # Scores: which operand may stay on the chip
        ("score_bits", REAL),  # bits that a row of m has of scores
        ("query_bits", REAL),  # of a row of queries
        ("key_bits", REAL),  # of a group of keys or values, of one output
        ("whole_bits", REAL),  # of all keys and values of a product
        ("operations", REAL),  # of the vector unit
        ("specials", REAL),  # special functions of the vector unit
        ("link_bytes", REAL),
        ("messages", REAL),  # messages over links
        ("repeats", REAL),  # how often the row runs in one run of its op: expected, of experts
        ("op", WHOLE),  # which op of the workload
    ]
)

MACHINE = np.dtype(
    [
        ("lanes", WHOLE),
        ("rows", WHOLE),
        ("columns", WHOLE),
        ("count", WHOLE),
        ("sharing", WHOLE),  # index in parts.SHARING
        ("dataflow", WHOLE),  # index in parts.DATAFLOWS
        ("fuses", WHOLE),
        ("skips", WHOLE),
        ("clock_hz", REAL),
        ("step_j", REAL),  # of one PE, layout included
        ("idle_share", REAL),
        ("pe_leakage_w", REAL),  # of one PE, layout included
        ("pe_area_um2", REAL),  # of one PE, layout included
        ("weight_bytes", REAL),
        ("weight_port", REAL),
        ("weight_read_j", REAL),  # a bit
        ("weight_write_j", REAL),
        ("weight_leakage_w", REAL),
        ("weight_area_um2", REAL),
        ("input_bytes", REAL),
        ("input_port", REAL),
        ("input_read_j", REAL),
        ("input_write_j", REAL),
        ("input_leakage_w", REAL),
        ("input_area_um2", REAL),
        ("vector_lanes", REAL),
        ("special_operations", REAL),
        ("operation_j", REAL),
        ("vector_leakage_w", REAL),  # of all lanes
        ("vector_area_um2", REAL),
        ("dram_bytes_per_s", REAL),
        ("dram_j", REAL),  # a byte
        ("dram_latency_s", REAL),
        ("dram_background_w", REAL),
        ("core_area", REAL),  # factors of node and supply: of elements and vector unit
        ("core_energy", REAL),
        ("core_leakage", REAL),
        ("memory_area", REAL),  # of the buffers
        ("memory_energy", REAL),
        ("memory_leakage", REAL),
        ("most_clock_hz", REAL),  # at the supply
        ("link_bytes_per_s", REAL),
        ("link_j", REAL),  # a byte
        ("link_latency_s", REAL),
    ]
)

COST = np.dtype(
    [
        ("cycles", REAL),
        ("compute", REAL),  # clocks of the slowest tile
        ("weight_port", REAL),
        ("input_port", REAL),
        ("vector", REAL),
        ("dram", REAL),
        ("link", REAL),
        ("dram_bytes", REAL),
        ("compute_j", REAL),
        ("sram_j", REAL),
        ("vector_j", REAL),
        ("dram_j", REAL),
        ("link_j", REAL),
        ("leakage_j", REAL),
        ("way", WHOLE),  # which of the op's ways was taken
        ("on_chip", WHOLE),  # whether scores stayed on the chip
        ("misfit", WHOLE),  # Misfit
        ("needed_bytes", REAL),  # of the buffer that does not hold the smallest tile
    ]
)

WAY = np.dtype(
    [
        ("clocks", REAL),  # on the chip: the slowest of tiles and ports
        ("compute", REAL),  # of the slowest tile
        ("weight_port", REAL),
        ("input_port", REAL),
        ("bytes", REAL),  # that cross the memory interface
        ("steps", REAL),  # clocks of elements that work
        ("sram_j", REAL),
        ("outputs", WHOLE),  # tiles along the outputs
        ("tokens", WHOLE),  # along the tokens
        ("products", WHOLE),  # along products that share nothing
        ("order", WHOLE),  # Order of the loops over memory
        ("m_parts", WHOLE),
        ("n_parts", WHOLE),
        ("k_parts", WHOLE),
        ("weights", REAL),  # times that weights are read from memory; a part where keys are masked
        ("inputs", WHOLE),
        ("spilled", WHOLE),  # crossings of a partial sum
    ]
)
"""A way to run a product: its tiles and its loops over memory."""


class Mask(IntEnum):
    """What a token's mask hides."""

    NOTHING = 0
    OUTPUTS = 1
    REDUCTION = 2


class Scores(IntEnum):
    """Which operand of an op of fused attention may stay on the chip."""

    NONE = 0
    WRITTEN = 1
    BOTH = 2
    READ = 3


class Misfit(IntEnum):
    """Which buffer does not hold the smallest tile of an op."""

    NONE = 0
    WEIGHTS = 1
    INPUTS = 2


def rows(kind: np.dtype[Any], count: int) -> Record:
    """Return so many empty rows."""
    return np.zeros(count, kind)
