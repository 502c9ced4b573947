"""Packets of whole layers, made at once, against each word put together by itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import quant
from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.operands import Weights, weights
from hwsim.tile.packets import Job, Packet, jobs
from hwsim.tile.tile import Tile
from hwsim.verilog.compiled import act_lines, weight_lines
from tests.rtl.tile_cases import activations

FORMATS = ("int4:g24", "int4-asym:g24", "bitmod3:g32", "mxfp4", "nvfp4", "int8:g7", "fp3:row")
SHAPES = ((3, 2), (8, 8), (1, 1))
LANES = (1, 2, 3, 4, 7, 8, 9, 15, 16)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("text", FORMATS)
def test_every_word_is_where_the_tile_looks_for_it(text: str, lanes: int) -> None:
    rng = np.random.default_rng(lanes)
    qt = quant.quantize(rng.standard_normal((5, 70)).astype(np.float32), text, scale=scale(text))
    rule = Arithmetic(lanes=lanes, exponent_bits=weights(qt, None)[1].exponent_bits)
    for rows, columns in SHAPES:
        tile = Tile(rows=rows, columns=columns, max_group=80, arithmetic=rule)
        operand, _ = weights(qt, rule)
        words = activations(rng, (3, 70), tile)
        found = list(jobs(operand, words, tile, "fp16"))
        assert len(found) == -(-5 // rows) * -(-3 // columns)
        for job in found:
            check(job, operand, words, tile)


def scale(text: str) -> str:
    """A format's own kind of scales, or 8-bit ones."""
    return quant.parse_spec(text, default_scale="int8").scale.name


def check(job: Job, weight: Weights, words: NDArray[Any], tile: Tile) -> None:
    """Compare all packets of a job, word by word."""
    starts = range(0, 70, weight.size)
    for g, (start, packet) in enumerate(zip(starts, job.packets, strict=True)):
        inputs = range(start, min(start + weight.size, 70))
        assert packet.final == (g == len(starts) - 1)
        for row in range(tile.rows):
            own = [int(beat[row]) for beat in packet.weights]
            assert own == row_words(weight, job.rows.start + row, g, inputs, tile, packet.final)
        for block in range(len(packet.words)):
            for column, lanes in enumerate(packet.words[block]):
                token = job.columns.start + column
                at = [start + block * tile.arithmetic.lanes + lane for lane in range(len(lanes))]
                there = [i in inputs and token < len(words) for i in at]
                wanted = [int(words[token, i]) if t else 0 for i, t in zip(at, there, strict=True)]
                assert lanes.tolist() == wanted
        check_needed(packet, weight, job, g, tile)
        check_lines(packet, tile)


def row_words(
    weight: Weights, row: int, group: int, inputs: range, tile: Tile, final: bool
) -> list[int]:
    """A row's words of a group, in Python's integers; 0 for a row that is not there."""
    lanes = tile.arithmetic.lanes
    blocks = [inputs[i : i + lanes] for i in range(0, len(inputs), lanes)]
    if row >= len(weight.codes):
        return [0] * (1 + final + len(blocks))
    corrections = weight.corrections
    low = 0 if corrections is None else int(corrections[row, group]) & 0xFFFF
    head = (
        int(weight.selectors[row, group]) << 24 | low << 8 | int(weight.stored_scales[row, group])
    )
    factor = [int(weight.factors[row : row + 1].view(np.uint32)[0])] if final else []
    return [
        head,
        *factor,
        *(sum(int(weight.codes[row, i]) << 8 * k for k, i in enumerate(b)) for b in blocks),
    ]


def check_needed(packet: Packet, weight: Weights, job: Job, group: int, tile: Tile) -> None:
    """A step is needed where a lane has a term in some row and a number in some column."""
    table, lanes = weight.table, tile.arithmetic.lanes
    rows = range(job.rows.start, min(job.rows.stop, len(weight.codes)))
    fields = tile.arithmetic.activations.fields(packet.words)
    active = (fields.mantissa > 0) & fields.finite
    for block, step in np.ndindex(packet.needed.shape):
        wanted = False
        for lane in range(lanes):
            i = group * weight.size + block * lanes + lane
            inside = block * lanes + lane < weight.size and i < weight.codes.shape[1]
            seen = bool(active[block, :, lane].any())
            codes = [(weight.selectors[r, group], weight.codes[r, i]) for r in rows if inside]
            codes += [] if inside and len(rows) == tile.rows else [(0, 0)]
            terms = any(table.man[s, c, step] for s, c in codes)
            wanted |= seen and (terms or (weight.zero_points is not None and step == 0))
        assert packet.needed[block, step] == wanted


def check_lines(packet: Packet, tile: Tile) -> None:
    """The files of the compiled bench hold the same numbers."""
    bits, form = tile.word_bits, tile.arithmetic.activations.bits
    for line, words in zip(weight_lines(packet, tile), packet.weights, strict=True):
        assert int(line, 16) % (1 << bits * tile.rows) == joined(words, bits)
    for line, words in zip(act_lines(packet, tile), packet.words, strict=True):
        own = joined(words.reshape(-1), form)
        assert int(line, 16) % (1 << form * words.size) == own


def joined(words: Iterable[Any], bits: int) -> int:
    """One number of many, the first lowest."""
    return sum(int(word) << bits * at for at, word in enumerate(words))
