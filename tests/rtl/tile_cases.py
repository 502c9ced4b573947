"""Random layers for a tile, with the results that the kernels give.

Codes, scales, zero points and factors are drawn themselves, not quantized: every one that the
packets can say comes. What the packets leave open (bits above a code, the side band of later
beats, corrections that no format asks for) is noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwsim.pe.operands import Weights
from hwsim.pe.product import Output, product
from hwsim.pe.terms import TermTable, term_table
from hwsim.tile.packets import Job, Packet, jobs
from hwsim.tile.tile import Tile
from quant.formats.registry import FORMATS
from quant.formats.scale_kind import ScaleKind
from quant.formats.scales import SCALES
from tests.rtl.machines import Machine

KINDS = [kind for kind in SCALES.values() if kind.id is not None]


class Case(NamedTuple):
    """A layer on a tile.

    Attributes:
        tile: The array.
        packets: Of all jobs.
        words: Results, ``[beats, columns]`` uint32.
    """

    tile: Tile
    packets: list[Packet]
    words: NDArray[np.uint32]


def case_of(machine: Machine, rng: np.random.Generator, longest: int | None = None) -> Case:
    """Draw a case: format, shape, weights, activations, output.

    Args:
        machine: The tile.
        rng: Draws.
        longest: Weights of a group, at most; None: what the buffers hold.
    """
    tile = machine.tile
    extreme = rng.random() < 0.1
    weight = drawn_weights(machine, rng, longest or tile.max_group, extreme)
    tokens = _count(rng, tile.columns)
    words = activations(rng, (tokens, weight.codes.shape[1]), tile, "large" if extreme else None)
    output: Output = "fp16" if rng.random() < 0.4 else "fp32"
    y, _ = product(weight, words, tile.arithmetic, output=output)
    found = list(jobs(weight, words, tile, output))
    bits = FORMATS[weight.table.format].element_bits
    packets = [_with_noise(packet, bits, tile, rng) for job in found for packet in job.packets]
    return Case(tile, packets, np.concatenate([_beats(job, y, tile) for job in found]))


def drawn_weights(
    machine: Machine, rng: np.random.Generator, longest: int, extreme: bool = False
) -> Weights:
    """Draw a layer of any codes and scales, or one whose sums are as large as they can be."""
    tile = machine.tile
    name = str(rng.choice(machine.taken))
    table = term_table(name, tile.arithmetic.exponent_bits)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    lanes = tile.arithmetic.lanes
    size = min(int(rng.choice([1, 5, lanes, 3 * lanes + 1, 31, longest])), longest)
    columns = int(rng.integers(1, int(rng.choice([1, 3, 3, 8])) * size + 1))
    columns = min(columns, 96 * lanes)
    if extreme:
        size = columns = min(longest, 64 * lanes)
    rows, groups = _count(rng, tile.rows), -(-columns // size)
    selectors = rng.integers(0, len(table.man), (rows, groups)).astype(np.uint8)
    wide = np.repeat(selectors, size, axis=1)[:, :columns]
    codes = _codes(rng, table, wide, extreme)
    if rng.random() < 0.5 and not extreme:
        _without_a_step(rng, table, wide, codes, np.arange(columns) % size // lanes)
    stored = _stored(rng, kind, (rows, groups))
    scales, exponents = kind.multiplier(stored)
    zeros = None
    if table.offset:
        zeros = rng.integers(0, 2 * table.offset, (rows, groups)).astype(np.int32)
    factors = _factors(rng, kind, rows)
    return Weights(
        table, codes, size, kind, selectors, stored, scales, exponents, zeros, factors
    )  # fmt: skip


def _count(rng: np.random.Generator, of_tile: int) -> int:
    """Rows or tokens: those of one or two whole tiles, or any number of them."""
    whole = of_tile * int(rng.integers(1, 3))
    return whole if rng.random() < 0.7 else int(rng.integers(1, 2 * of_tile + 2))


def _codes(
    rng: np.random.Generator, table: TermTable, selectors: NDArray[np.uint8], extreme: bool
) -> NDArray[np.uint8]:
    """Codes that stand for a number: any, few of them, the largest, or mostly zero."""
    codes = rng.integers(0, table.has_value.shape[1], selectors.shape)
    kind = rng.random()
    if kind < 0.2:  # sums as large as they can be
        codes = codes[:, :1] + np.zeros_like(codes)
    if kind < 0.1 or extreme:
        weight = table.man.astype(np.int64) << table.exp.astype(np.int64)
        largest = (weight << np.array(table.significance)).sum(axis=2).argmax(axis=1)
        codes = largest[selectors]
    if kind > 0.85:
        codes = np.where(rng.random(codes.shape) < 0.8, table.offset, codes)
    first = table.has_value.argmax(axis=1)[selectors]  # of the group's table
    return np.where(table.has_value[selectors, codes], codes, first).astype(np.uint8)


def _without_a_step(
    rng: np.random.Generator,
    table: TermTable,
    selectors: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    blocks: NDArray[np.int64],
) -> None:
    """Let some blocks have codes alone that have no term in a step: it may be passed over."""
    step = int(rng.integers(table.man.shape[2]))
    chosen = np.isin(blocks, np.flatnonzero(rng.random(blocks.max() + 1) < 0.5))
    for selector in range(len(table.man)):
        fit = np.flatnonzero(table.has_value[selector] & (table.man[selector, :, step] == 0))
        here = chosen & (selectors == selector)
        if fit.size:
            codes[here] = rng.choice(fit, int(here.sum()))


def _stored(rng: np.random.Generator, kind: ScaleKind, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Group scales: in the middle, of one size, or any there are."""
    every = np.arange(256, dtype=np.uint8)
    every = every[kind.is_number(every)]
    ends = [0, len(every) - 1, 1 << int(rng.integers(8)), int(rng.integers(len(every)))]
    middle = len(every) // 2 if rng.random() < 0.6 else int(rng.choice(ends))
    if rng.random() < 0.9:
        every = every[max(0, middle - 4) : middle + 4]
    return rng.choice(every, shape)


def _factors(rng: np.random.Generator, kind: ScaleKind, rows: int) -> NDArray[np.float32]:
    """Factors of rows: FP16 numbers, powers of two, or FP32 numbers; seldom 0."""
    if kind.row_bits:
        words = rng.integers(0, 0x7C00, rows).astype(np.uint16)
        found = words.view(np.float16).astype(np.float32)
    elif kind.takes_tensor_scale and rng.random() < 0.3:
        found = rng.integers(0, 0x7F800000, rows).astype(np.uint32).view(np.float32)
    else:
        whole = 1 + rng.random(rows, np.float32) * kind.takes_tensor_scale
        found = np.ldexp(whole, rng.integers(-24, 8, rows)).astype(np.float32)
    return np.where(rng.random(rows) < 0.02, 0, found).astype(np.float32)


def activations(
    rng: np.random.Generator, shape: tuple[int, int], tile: Tile, chosen: str | None = None
) -> NDArray[Any]:
    """Words: any, of like size, all large, small, sparse, or with Inf and NaN here or there."""
    form = tile.arithmetic.activations
    words = rng.integers(0, 1 << form.bits, shape)
    kinds = ["any", "normal", "large", "small", "sparse", "nonfinite"]
    kind = chosen or rng.choice(kinds, p=[0.2, 0.4, 0.1, 0.1, 0.1, 0.1])
    if kind == "small":
        words = rng.integers(0, 1 << form.bits - 5, shape) | words & 1 << (form.bits - 1)
    if kind == "normal":
        numbers = rng.standard_normal(shape) * float(rng.choice([2, 8, 40]))
        words = form.words(np.rint(np.clip(numbers, -128, 127))).astype(np.int64)
    sign = 1 << (form.bits - 1)
    finite = np.flatnonzero(form.fields(np.arange(sign)).finite)
    if kind == "large":
        words = rng.choice(finite[-16:], shape) | sign * int(rng.integers(2))
    if kind == "large" and form.element is None and rng.random() < 0.5:
        words = np.full(shape, sign)  # -128, the largest magnitude
    if kind == "sparse":
        words = np.where(rng.random(shape) < 0.8, words & 1 << (form.bits - 1), words)
        words[:, rng.random(shape[1]) < 0.5] &= 1 << (form.bits - 1)
    if chosen is None and rng.random() < 0.4:  # lanes without an activation
        words[:, rng.random(shape[1]) < 0.4] = 0
    broken = np.zeros(shape, np.bool_)
    if kind == "nonfinite":
        place = rng.choice([0, shape[1] - 1, int(rng.integers(shape[1]))])
        broken[:, place] = rng.random(shape[0]) < 0.5
    words = np.where(form.fields(words).finite, words, 0)
    if len(finite) < sign:  # the first that is not finite is Inf, where a format has it
        ends = np.array([finite[-1] + 1, sign - 1, finite[-1] + 1 + sign, 2 * sign - 1])
        words = np.where(broken, rng.choice(ends, shape), words)
    return words.astype(np.uint8 if form.bits == 8 else np.uint16)


def _with_noise(packet: Packet, bits: int, tile: Tile, rng: np.random.Generator) -> Packet:
    """The packet with noise where the tile must not look."""
    beats = packet.weights
    lanes, width = tile.arithmetic.lanes, max(64, tile.word_bits)
    every = (1 << tile.word_bits) - 1
    head = 0x3FFFFFF if packet.corrects else 0x3FFFFFF ^ 0xFFFF00
    code = sum(((1 << bits) - 1) << (8 * lane) for lane in range(lanes))
    read = [head, *[0xFFFFFFFF] * packet.final] + [code] * len(packet.words)
    raw = rng.bytes(beats.size * width // 8)
    parts = range(0, len(raw), width // 8)
    noise = np.array([int.from_bytes(raw[at : at + width // 8], "little") for at in parts], object)
    free = np.array([every & ~mask for mask in read], object)[:, None]
    noisy = beats.astype(object) | noise.reshape(beats.shape) & free
    return packet._replace(weights=noisy.astype(beats.dtype))


def _beats(job: Job, y: NDArray[Any], tile: Tile) -> NDArray[np.uint32]:
    """A job's results; rows and columns that are not there give 0, or NaN with their token's."""
    bits = np.uint16 if y.dtype == np.float16 else np.uint32
    part = y[job.columns, job.rows]
    whole = np.zeros((tile.columns, tile.rows), y.dtype)
    whole[_broken_tokens(job, tile)] = np.nan
    whole[: part.shape[0], : part.shape[1]] = part
    return whole.view(bits).astype(np.uint32).T


def _broken_tokens(job: Job, tile: Tile) -> NDArray[np.bool_]:
    """Columns with an activation that is Inf or NaN."""
    form = tile.arithmetic.activations
    found = np.zeros(tile.columns, np.bool_)
    for packet in job.packets:
        found |= ~form.fields(packet.words).finite.all(axis=(0, 2))
    return found
