"""Which parameter of a model goes into which file of a checkpoint: it follows from the request."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from quant.checkpoints.conversion import Unit
from quant.checkpoints.shards import ShardedModel
from quant.formats.spec import FormatSpec
from quant.layers.weights import Weight

Kind = Literal["quantized", "rest"]
QUANTIZED: Kind = "quantized"
REST: Kind = "rest"


@dataclass(frozen=True)
class Piece:
    """What a unit of the source gives to a file.

    Attributes:
        unit: Its number.
        weights: Matrices, each with the parameter that holds it: to be quantized, or those of a
            stack that stay as they are.
        names: Parameters that stay as they are.
    """

    unit: int
    weights: tuple[tuple[str, Weight], ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shard:
    """A file of a checkpoint.

    Attributes:
        kind: Codes, or values as they are.
        file: Its name.
        pieces: What is in it, in order.
    """

    kind: Kind
    file: str
    pieces: tuple[Piece, ...]


def partition(
    opened: ShardedModel,
    units: list[Unit],
    held: Mapping[str, list[Weight]],
    specs: Mapping[str, FormatSpec],
    shard_bytes: int,
) -> list[Shard]:
    """Return the files of a checkpoint, in the order of the source's tensors.

    Args:
        opened: The source.
        units: What its tensors become.
        held: Parameter -> the matrices that it holds.
        specs: Path -> format of what is quantized.
        shard_bytes: Size from which a file is full.
    """
    sizes: dict[Kind, list[tuple[Piece, int]]] = {QUANTIZED: [], REST: []}
    for index, unit in enumerate(units):
        done, left, names = [], [], []
        for name in unit.shapes:
            own = held.get(name, [])
            chosen = [(name, weight) for weight in own if weight.path in specs]
            done += chosen
            if len(chosen) == len(own) > 0:
                continue
            if chosen and own[0].layout.is_stack:
                left += [(name, weight) for weight in own if weight.path not in specs]
            else:
                names.append(name)
        if done:
            size = sum(_code_bytes(specs[weight.path], weight) for _, weight in done)
            sizes[QUANTIZED].append((Piece(index, weights=tuple(done)), size))
        if left or names:
            size = sum(opened.tensors[name].size for name in unit.sources)
            sizes[REST].append((Piece(index, tuple(left), tuple(names)), size))
    shards = []
    for kind, sized in sizes.items():
        runs = list(_runs(sized, shard_bytes))
        for index, pieces in enumerate(runs):
            file = f"{kind}-{index + 1:05d}-of-{len(runs):05d}.safetensors"
            shards.append(Shard(kind, file, pieces))
    return shards


def _code_bytes(spec: FormatSpec, weight: Weight) -> int:
    """Bytes of the arrays of a matrix, before a method changes the rule of its format."""
    arrays = spec.arrays(weight.shape)
    return sum(prod(size) * np.dtype(kind).itemsize for size, kind in arrays.values())


def _runs(pieces: Iterable[tuple[Piece, int]], limit: int) -> Iterator[tuple[Piece, ...]]:
    """Pieces in their order, a run as long as it takes to reach the limit."""
    run: list[Piece] = []
    filled = 0
    for piece, size in pieces:
        run.append(piece)
        filled += size
        if filled >= limit:
            yield tuple(run)
            run, filled = [], 0
    if run:
        yield tuple(run)
