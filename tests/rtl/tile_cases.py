"""Random layers for the tile, with the results that the kernels give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import quant
from hwsim.pe import matmul
from hwsim.pe.arithmetic import Arithmetic
from hwsim.pe.operands import Weights, weights
from hwsim.pe.product import Output
from hwsim.tile.packets import Job, Packet, jobs
from hwsim.tile.tile import Tile
from quant.formats.spec import parse_spec

Beat = tuple[list[int], bool]


class Case(NamedTuple):
    """A layer on a tile.

    ``results`` are the beats that leave: bits of each column, and whether it is a job's last.
    """

    tile: Tile
    packets: list[Packet]
    weight: Weights
    results: list[Beat]


def tile_of(settings: dict[str, Any]) -> Tile:
    """The tile of settings as a test hands them over: arithmetic beside the rest."""
    own = {key: value for key, value in settings.items() if key != "arithmetic"}
    return Tile(**own, arithmetic=Arithmetic(**settings.get("arithmetic", {})))


def case_of(settings: dict[str, Any], formats: Sequence[str], seed: int) -> Case:
    """A random case: format, shape, scales, kinds of activations, output."""
    rng, tile = np.random.default_rng(seed), tile_of(settings)
    name = formats[seed % len(formats)]
    own = parse_spec(name)
    fixed = own.format.group_size is not None
    size = own.group_size if fixed else int(rng.choice([1, 5, 16, 31, tile.max_group]))
    size = min(size, tile.max_group)
    columns = int(rng.integers(1, 3 * size + 1))
    if own.group_size > tile.max_group:
        columns = int(rng.integers(1, tile.max_group + 1))  # one group a row
    shape = (int(rng.integers(1, 2 * tile.rows + 2)), columns)
    weight = (rng.standard_normal(shape) * 0.02).astype(np.float32)
    scale = own.scale.name
    if not own.scale.is_coarse:
        scale = str(rng.choice(["int8", "e8m0", "e4m3"]))
    group = None if fixed else size
    qt = quant.quantize(weight, name, group_size=group, scale=scale)
    operand, _ = weights(qt, tile.arithmetic)
    words = activations(rng, (int(rng.integers(1, 2 * tile.columns + 1)), columns), tile)
    outputs: list[Output] = ["fp32", "fp32", "fp16"]
    output = outputs[int(rng.integers(3))]
    found = list(jobs(operand, words, tile, output))
    y, _ = matmul(
        qt, values_of(words, tile), arithmetic=tile.arithmetic, nonfinite="nan", output=output
    )
    packets = [packet for job in found for packet in job.packets]
    results = [beat for job in found for beat in beats_of(job, y, tile)]
    return Case(tile, packets, operand, results)


def activations(rng: np.random.Generator, shape: tuple[int, int], tile: Tile) -> NDArray[Any]:
    """Words: any, of like size, sparse, or with Inf and NaN among them."""
    form = tile.arithmetic.activations
    words = rng.integers(0, 1 << form.bits, shape)
    kind = rng.choice(["any", "normal", "sparse", "nonfinite"])
    if kind == "normal":
        words = form.words(np.rint(rng.standard_normal(shape) * 20)).astype(np.int64)
    if kind == "sparse":
        words = np.where(rng.random(shape) < 0.8, words & 1 << (form.bits - 1), words)
    if kind != "nonfinite":
        words = np.where(form.fields(words).finite, words, 0)
    return words.astype(np.uint8 if form.bits == 8 else np.uint16)


def values_of(words: NDArray[Any], tile: Tile) -> NDArray[np.float64]:
    """The numbers that words stand for; NaN where they are not finite."""
    form = tile.arithmetic.activations
    parts = form.fields(words)
    size = np.ldexp(parts.mantissa.astype(np.float64), parts.exponent - form.point)
    return np.where(parts.finite, np.where(parts.sign > 0, -size, size), np.nan)


def beats_of(job: Job, y: NDArray[Any], tile: Tile) -> list[Beat]:
    """A job's results; rows and columns that are not there give 0, or NaN with their token's."""
    bits = np.uint16 if y.dtype == np.float16 else np.uint32
    part = y[job.columns, job.rows]
    whole = np.zeros((tile.columns, tile.rows), y.dtype)
    broken = np.isnan(part).all(axis=1) & broken_tokens(job, tile)[: len(part)]
    whole[: len(part)][broken] = np.nan
    whole[: part.shape[0], : part.shape[1]] = part
    words = whole.view(bits)
    return [([int(v) for v in words[:, r]], r == tile.rows - 1) for r in range(tile.rows)]


def broken_tokens(job: Job, tile: Tile) -> NDArray[np.bool_]:
    """Columns with an activation that is Inf or NaN."""
    form = tile.arithmetic.activations
    found = np.zeros(tile.columns, np.bool_)
    for packet in job.packets:
        found |= ~form.fields(packet.words).finite.all(axis=(0, 2))
    return found
