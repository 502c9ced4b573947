"""What a tile is fed: a quantized layer and activations as packets of its two streams.

A packet is a group of inputs of the tile's rows and columns; ``rtl/array/tile.sv`` says what its
beats mean, ``hwsim.tile.side_band`` what stands beside them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.operands import Weights
from hwsim.pe.product import Output
from hwsim.tile.side_band import SideBand, format_id, scale_id
from hwsim.tile.tile import Tile
from quant.common.errors import RequestError
from quant.formats.scale_kind import ScaleKind


class Packet(NamedTuple):
    """A group of inputs on both streams.

    Attributes:
        user: Side band of the header beat (``hwsim.tile.side_band``).
        weights: Words of the rows, ``[beats, rows]``: header, factors if ``final``, codes; uint64,
            or integers of Python's where a tile of more than 8 lanes has wider words.
        words: Activations, ``[blocks, columns, lanes]``.
        steps: Of the format.
        needed: Whether some PE has a product, ``[blocks, steps]``.
        scale_kind: Of the group's scales; with the next it sets the time of the group's drain.
        corrects: Whether the sum of the activations is multiplied by a correction.
    """

    user: SideBand
    weights: NDArray[Any]
    words: NDArray[Any]
    steps: int
    needed: NDArray[np.bool_]
    scale_kind: ScaleKind
    corrects: bool

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
    sides = _side_bands(weight, output)
    groups = [_group(weight, words, g, tile) for g in range(len(sides))]
    facts = weight.scale_kind, weight.zero_points is not None
    steps = weight.table.steps
    for row in range(-(-len(weight.codes) // tile.rows)):
        parts = [
            (side, group.weights[row], group.words, group.needed(row))
            for side, group in zip(sides, groups, strict=True)
        ]
        for token in range(-(-len(words) // tile.columns)):
            packets = [
                Packet(side, beats, inputs[token], steps, needed[token], *facts)
                for side, beats, inputs, needed in parts
            ]
            yield Job(_tile_of(row, tile.rows), _tile_of(token, tile.columns), packets)


@dataclass(frozen=True)
class _Group:
    """A group of inputs, for all tiles of rows and of tokens.

    Attributes:
        weights: ``[row tiles, beats, rows]``.
        words: ``[token tiles, blocks, columns, lanes]``.
        terms: Bits of the steps in which a lane has a term in some row,
            ``[row tiles, blocks, lanes]``.
        active: All bits where a lane has an activation in some column, else 0,
            ``[token tiles, blocks, lanes]``.
        always: Bits of the steps that any activation needs.
        steps: Of the format.
    """

    weights: NDArray[Any]
    words: NDArray[Any]
    terms: NDArray[np.uint64]
    active: NDArray[np.uint64]
    always: np.uint64
    steps: int

    def needed(self, row: int) -> NDArray[np.bool_]:
        """Return in which steps a lane has a term in some row and an activation in some column.

        ``[token tiles, blocks, steps]``.
        """
        bits = np.bitwise_or.reduce((self.terms[row] | self.always) & self.active, axis=2)
        steps = np.arange(self.steps, dtype=np.uint64)
        needed: NDArray[np.bool_] = (bits[..., None] >> steps & np.uint64(1)).astype(bool)
        return needed


def _group(weight: Weights, words: NDArray[Any], group: int, tile: Tile) -> _Group:
    lanes, columns = tile.arithmetic.lanes, weight.codes.shape[1]
    here = slice(group * weight.size, min((group + 1) * weight.size, columns))
    width = -(-(here.stop - here.start) // lanes) * lanes
    codes = _in_tiles(weight.codes[:, here], tile.rows, width)
    inputs = _in_tiles(words[:, here], tile.columns, width)
    selectors = _in_tiles(weight.selectors[:, group, None], tile.rows, 1)
    inputs = inputs.reshape(*inputs.shape[:2], -1, lanes).transpose(0, 2, 1, 3)
    steps = np.arange(weight.table.steps, dtype=np.uint64)
    by_code = (weight.table.man.astype(np.uint64) << steps).sum(axis=2, dtype=np.uint64)
    terms = np.bitwise_or.reduce(by_code[selectors, codes], axis=1)
    fields = tile.arithmetic.activations.fields(inputs)
    active = ((fields.mantissa > 0) & fields.finite).any(axis=2)
    heads = [_headers(weight, group)]
    if here.stop == columns:
        heads.append(weight.factors.view(np.uint32).astype(np.uint64))
    tops = [_in_tiles(head[:, None], tile.rows, 1).transpose(0, 2, 1) for head in heads]
    return _Group(
        np.concatenate([*tops, _beats(codes, lanes)], axis=1),
        inputs,
        terms.reshape(len(terms), -1, lanes),
        np.where(active, ~np.uint64(0), np.uint64(0)),
        np.uint64(weight.zero_points is not None),
        len(steps),
    )


def _side_bands(weight: Weights, output: Output) -> list[SideBand]:
    numbers = format_id(weight.table.format), scale_id(weight.scale_kind)
    count = weight.selectors.shape[1]
    return [SideBand(*numbers, output == "fp16", group == count - 1) for group in range(count)]


def _headers(weight: Weights, group: int) -> NDArray[np.uint64]:
    """The first word of each row."""
    selector, scale = weight.selectors[:, group], weight.stored_scales[:, group]
    corrections = weight.corrections
    correction = np.zeros_like(weight.scales) if corrections is None else corrections
    low = correction[:, group].astype(np.int64) & 0xFFFF
    words = selector.astype(np.int64) << 24 | low << 8 | scale.astype(np.int64)
    return words.astype(np.uint64)


def _beats(codes: NDArray[Any], lanes: int) -> NDArray[Any]:
    """Words of codes ``[row tiles, rows, blocks * lanes]``, a byte a lane, the first lowest."""
    blocks = codes.reshape(*codes.shape[:2], -1, lanes).transpose(0, 2, 1, 3)
    words = np.zeros((*blocks.shape[:3], -(-lanes // 8) * 8), np.uint8)
    words[..., :lanes] = blocks
    low, *high = np.moveaxis(words.view("<u8"), -1, 0)
    wide: NDArray[Any] = low if not high else low.astype(object) | high[0].astype(object) << 64
    return wide


def _in_tiles(values: NDArray[Any], rows: int, columns: int) -> NDArray[Any]:
    """Return ``[tiles, rows, columns]``, with zeros for what is not there."""
    tiles = -(-len(values) // rows)
    padding = ((0, tiles * rows - len(values)), (0, columns - values.shape[1]))
    return np.pad(values, padding).reshape(tiles, rows, columns)


def _tile_of(number: int, size: int) -> slice:
    return slice(number * size, (number + 1) * size)
