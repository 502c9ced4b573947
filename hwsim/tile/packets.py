"""What a tile is fed: a quantized layer and activations as packets of its two streams.

A packet is a group of inputs of the tile's rows and columns; ``rtl/array/tile.sv`` says what its
beats mean, ``hwsim.tile.side_band`` what stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.operands import Weights
from hwsim.pe.product import Output
from hwsim.tile.side_band import SideBand, format_id, scale_id
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError


class Packet(NamedTuple):
    """A group of inputs on both streams.

    Attributes:
        user: Side band of the header beat (``hwsim.tile.side_band``).
        weights: Words of the rows, ``[beats, rows]``: header, factors if ``final``, codes.
        words: Activations, ``[blocks, columns, lanes]``.
        steps: Of the format.
        needed: Whether some PE has a product, ``[blocks, steps]``.
    """

    user: SideBand
    weights: NDArray[np.uint64]
    words: NDArray[Any]
    steps: int
    needed: NDArray[np.bool_]

    @property
    def final(self) -> bool:
        """Whether results leave after this group."""
        return self.user.final


class Job(NamedTuple):
    """Outputs ``rows`` of tokens ``columns``, and the packets that make them."""

    rows: slice
    columns: slice
    packets: list[Packet]


def jobs(
    weight: Weights, words: NDArray[Any], tile: Tile, output: Output = "fp32"
) -> Iterator[Job]:
    """Yield the jobs of ``x @ W.T``: rows outer, tokens inner.

    Args:
        weight: The quantized layer.
        words: Activation words ``[tokens, in]``.
        tile: The array.
        output: ``fp32`` or ``fp16``.

    Raises:
        RequestError: groups or terms that the tile does not take, a format or scale kind without
            a number in the packets, words of another shape, an unknown output.
    """
    tile.check(weight)
    if output not in get_args(Output):
        raise RequestError(f"output {output!r}: {', '.join(get_args(Output))} is allowed")
    if words.ndim != 2 or words.shape[1] != weight.codes.shape[1]:
        raise RequestError(
            f"words of shape {words.shape}: [tokens, {weight.codes.shape[1]}] is needed"
        )
    for row in range(0, len(weight.codes), tile.rows):
        for token in range(0, len(words), tile.columns):
            rows, columns = slice(row, row + tile.rows), slice(token, token + tile.columns)
            packets = list(_packets(weight, words[columns], rows, tile, output))
            yield Job(rows, columns, packets)


def _packets(
    weight: Weights, words: NDArray[Any], rows: slice, tile: Tile, output: Output
) -> Iterator[Packet]:
    lanes, columns = tile.arithmetic.lanes, weight.codes.shape[1]
    groups = range(0, columns, weight.size)
    numbers = format_id(weight.table.format), scale_id(weight.scale_kind)
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
            SideBand(*numbers, output == "fp16", final),
            np.concatenate([np.stack(heads), beats.T]),
            inputs,
            weight.table.steps,
            _needed(weight, codes, rows, g, inputs, tile),
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
