"""A tile of PEs: the streams that feed it, and the clocks that it takes, as ``rtl/array/tile.sv``.

``packets`` turns a quantized layer and activations into the beats of the tile's two streams;
``clocks`` counts the tile's cycles from the times at which groups are loaded, issued and drained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.arithmetic import MAX_GROUP, Arithmetic, whole
from hwsim.pe.matmul import Output
from hwsim.pe.operands import PE_SCALES, Weights
from hwsim.pe.terms import pe_formats
from quant.common.errors import RequestError

CORRECTION_BITS = 15
SCALE_BITS = {"int8": 8, "e8m0": 1, "e4m3": 4}
FACTOR_BITS = {"int8": 11, "e8m0": 1, "e4m3": 24}
"""Bits of a group's scale and of a row's factor that are multiplied, most significant first."""
PIPELINE = 5
"""Clocks from the issue of a group's last step to its drain's first digit."""
REST = 1
"""Clocks that a product stands still after its last digit."""
FLUSH = 3
"""Clocks between a job's last product and its first factor."""
OUTPUT = 2
"""Clocks from a whole factor's product to its beat."""
DIGITS = (1, 2, 4, 8)
MAX_LANES = 16
"""All pairs of lanes are compared at once."""


@dataclass(frozen=True)
class Tile:
    """An array of PEs with its buffers.

    Attributes:
        rows: Output channels, 1..64.
        columns: Tokens, 1..64.
        max_group: Weights of the longest group that the buffers hold.
        digit_bits: Bits of a scale that the dequantizer multiplies a clock: 1, 2, 4 or 8.
        skip_zero_steps: Pass over steps in which no PE has a product; a block takes one clock at
            least.
        arithmetic: Widths of the PEs.

    Raises:
        RequestError: a number out of its range.
    """

    rows: int = 8
    columns: int = 8
    max_group: int = 128
    digit_bits: int = 2
    skip_zero_steps: bool = False
    arithmetic: Arithmetic = field(default_factory=Arithmetic)

    def __post_init__(self) -> None:
        if not isinstance(self.arithmetic, Arithmetic):
            raise RequestError(f"arithmetic = {self.arithmetic!r}: an Arithmetic is needed")
        for name, high in (("rows", 64), ("columns", 64), ("max_group", MAX_GROUP)):
            object.__setattr__(self, name, whole(name, getattr(self, name), 1, high))
        whole("lanes of a tile", self.arithmetic.lanes, 1, MAX_LANES)
        if whole("digit_bits", self.digit_bits, 1, 8) not in DIGITS:
            raise RequestError(f"digit_bits = {self.digit_bits}: 1, 2, 4 or 8 is allowed")
        if self.max_blocks * self.arithmetic.lanes > MAX_GROUP:
            raise RequestError(
                f"max_group = {self.max_group} with {self.arithmetic.lanes} lanes: whole blocks up "
                f"to {MAX_GROUP} weights are allowed"
            )

    @property
    def max_blocks(self) -> int:
        """Blocks that a buffer holds."""
        return -(-self.max_group // self.arithmetic.lanes)

    @property
    def word_bits(self) -> int:
        """Width of a row's word in the weight stream."""
        return max(32, 8 * self.arithmetic.lanes)

    def product_clocks(self, bits: int) -> int:
        """Return the clocks that a product by a number of so many bits takes."""
        return -(-bits // self.digit_bits) + REST

    def check(self, weight: Weights) -> None:
        """Raise RequestError where the buffers do not hold a group, or terms are too wide."""
        if not isinstance(weight, Weights):
            kind = type(weight).__name__
            raise RequestError(
                f"a weight of type {kind}: pass hwsim.pe.operands.weights(qt, rule)[0]"
            )
        if weight.table.format not in pe_formats():
            raise RequestError(
                f"format {weight.table.format!r} is not in the Verilog; it has: "
                f"{', '.join(pe_formats())}"
            )
        if weight.table.exponent_bits > self.arithmetic.exponent_bits:
            raise RequestError(
                f"format {weight.table.format!r}: its terms have exponents of "
                f"{weight.table.exponent_bits} bits, this tile's {self.arithmetic.exponent_bits}"
            )
        if weight.size > self.max_group:
            raise RequestError(
                f"groups of {weight.size} weights: this tile's buffers hold {self.max_group}"
            )


def format_bits() -> int:
    """Width of a format's number in the side band (``FormatWidth`` of the RTL)."""
    return max(1, (len(pe_formats()) - 1).bit_length())


def side_bits() -> int:
    """Width of the side band of the weight stream: format, scale kind, fp16, final."""
    return format_bits() + 4


class Packet(NamedTuple):
    """A group of inputs on both streams.

    Attributes:
        user: Side band of the header beat: ``{final, fp16, scale kind, format}``.
        weights: Words of the rows, ``[beats, rows]``: header, factors if ``final``, codes.
        words: Activations, ``[blocks, columns, lanes]``.
        steps: Of the format.
        needed: Whether some PE has a product, ``[blocks, steps]``.
        final: Whether results leave after this group.
    """

    user: int
    weights: NDArray[np.uint64]
    words: NDArray[Any]
    steps: int
    needed: NDArray[np.bool_]
    final: bool


class Job(NamedTuple):
    """Outputs ``rows`` of tokens ``columns``, and the packets that make them."""

    rows: slice
    columns: slice
    packets: list[Packet]


def jobs(
    weight: Weights, scale: str, words: NDArray[Any], tile: Tile, output: Output = "fp32"
) -> Iterator[Job]:
    """Yield the jobs of ``x @ W.T``: rows outer, tokens inner.

    Args:
        weight: The quantized layer.
        scale: Kind of its group scales.
        words: Activation words ``[tokens, in]``.
        tile: The array.
        output: ``fp32`` or ``fp16``.

    Raises:
        RequestError: groups or terms that the tile does not take, words of another shape, an
            unknown scale or output.
    """
    tile.check(weight)
    if scale not in PE_SCALES:
        raise RequestError(f"scale {scale!r}: {', '.join(PE_SCALES)} is allowed")
    if output not in get_args(Output):
        raise RequestError(f"output {output!r}: {', '.join(get_args(Output))} is allowed")
    if words.ndim != 2 or words.shape[1] != weight.codes.shape[1]:
        raise RequestError(
            f"words of shape {words.shape}: [tokens, {weight.codes.shape[1]}] is needed"
        )
    for row in range(0, len(weight.codes), tile.rows):
        for token in range(0, len(words), tile.columns):
            rows, columns = slice(row, row + tile.rows), slice(token, token + tile.columns)
            packets = list(_packets(weight, scale, words[columns], rows, tile, output))
            yield Job(rows, columns, packets)


def _packets(
    weight: Weights, scale: str, words: NDArray[Any], rows: slice, tile: Tile, output: Output
) -> Iterator[Packet]:
    lanes, columns = tile.arithmetic.lanes, weight.codes.shape[1]
    groups = range(0, columns, weight.size)
    kind = PE_SCALES.index(scale)
    formats = pe_formats()
    width = format_bits()
    side = formats.index(weight.table.format) | kind << width | (output == "fp16") << (width + 2)
    for g, start in enumerate(groups):
        final, stop = start == groups[-1], min(start + weight.size, columns)
        blocks = -(-(stop - start) // lanes)
        codes = _padded(weight.codes[rows, start:stop], tile.rows, blocks * lanes)
        inputs = _padded(words[:, start:stop], tile.columns, blocks * lanes)
        inputs = inputs.reshape(tile.columns, blocks, lanes).transpose(1, 0, 2)
        shifts = np.arange(lanes, dtype=np.uint64) * np.uint64(8)
        beats = (codes.reshape(tile.rows, blocks, lanes).astype(np.uint64) << shifts).sum(axis=2)
        heads = [_header(weight, rows, g, tile.rows)]
        if final:
            factors = weight.factors[rows].view(np.uint32).astype(np.uint64)
            heads.append(_padded(factors[:, None], tile.rows, 1)[:, 0])
        yield Packet(
            side | final << (width + 3),
            np.concatenate([np.stack(heads), beats.T]),
            inputs,
            weight.table.steps,
            _needed(weight, codes, rows, g, inputs, tile),
            final,
        )


def _header(weight: Weights, rows: slice, group: int, count: int) -> NDArray[np.uint64]:
    selector, scale = weight.selectors[rows, group], weight.stored_scales[rows, group]
    corrections = weight.corrections
    correction = np.zeros_like(weight.scales) if corrections is None else corrections
    low = correction[rows, group].astype(np.int64) & 0xFFFF
    words = selector.astype(np.int64) << 24 | low << 8 | scale.astype(np.int64)
    return _padded(words.astype(np.uint64)[:, None], count, 1)[:, 0]


def _needed(
    weight: Weights,
    codes: NDArray[Any],
    rows: slice,
    group: int,
    inputs: NDArray[Any],
    tile: Tile,
) -> NDArray[np.bool_]:
    """Steps in which a lane has a term in some row and an activation in some column."""
    selectors = _padded(weight.selectors[rows, group][:, None], tile.rows, 1)
    terms = weight.table.man[selectors, codes].astype(bool)
    blocks = len(inputs)
    by_lane = terms.any(axis=0).reshape(blocks, -1, weight.table.steps)
    fields = tile.arithmetic.activations.fields(inputs)
    active: NDArray[np.bool_] = np.any((fields.mantissa > 0) & fields.finite, axis=1)
    needed: NDArray[np.bool_] = np.any(by_lane & active[..., None], axis=1)
    if weight.zero_points is not None:
        needed[:, 0] |= np.any(active, axis=1)
    return needed


def _padded(values: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Zeros to the right and below: lanes, rows and columns that are not there."""
    return np.pad(values, ((0, rows - values.shape[0]), (0, columns - values.shape[1])))


def clocks(packets: Sequence[Packet], kind: str, corrects: bool, tile: Tile) -> int:
    """Return the clocks from the first beats to the last result, without stalls from outside.

    Args:
        packets: Of all jobs, in order.
        kind: Kind of group scales.
        corrects: Whether the format is asymmetric.
        tile: The array.
    """
    a_row = tile.product_clocks(SCALE_BITS[kind])
    a_row += tile.product_clocks(CORRECTION_BITS) if corrects else 0
    factors = tile.rows * tile.product_clocks(FACTOR_BITS[kind])
    ends, pops, drained, finish = [-1, -1], [-1, -1], 0, 0
    for packet in packets:
        # A stream's beat goes in each clock; a bank is free in the clock after its last step.
        for stream, beats in enumerate((len(packet.weights), len(packet.words))):
            ends[stream] = max(ends[stream], pops[-2]) + beats
        start = max(*ends, pops[-1]) + 1
        pop = max(start + issue_clocks(packet, tile) - 1, drained)
        pops = [pops[-1], pop]
        drained = pop + PIPELINE + tile.rows * a_row
        if packet.final:
            drained += FLUSH + factors
            finish = drained - 1 + OUTPUT + 1
    return finish


def issue_clocks(packet: Packet, tile: Tile) -> int:
    """Return the issue slots that a group takes."""
    if not tile.skip_zero_steps:
        return len(packet.words) * packet.steps
    return int(np.maximum(packet.needed.sum(axis=1), 1).sum())
