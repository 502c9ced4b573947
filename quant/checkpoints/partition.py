"""Which tensor of a source goes into which file of a checkpoint: it follows from the request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from quant.checkpoints.shards import ShardedModel, TensorInfo
from quant.formats.spec import FormatSpec

Kind = Literal["quantized", "rest"]
QUANTIZED: Kind = "quantized"
REST: Kind = "rest"


@dataclass(frozen=True)
class Shard:
    """A file of a checkpoint.

    Attributes:
        kind: Codes, or tensors as they are.
        file: Its name.
        names: The tensors of the source that it stands for, in order.
    """

    kind: Kind
    file: str
    names: tuple[str, ...]


def partition(
    opened: ShardedModel,
    specs: Mapping[str, FormatSpec],
    transposed: Mapping[str, bool],
    shard_bytes: int,
) -> list[Shard]:
    """Return the files of a checkpoint, in the order of the source's tensors.

    Args:
        opened: The source.
        specs: Module path -> format of what is quantized.
        transposed: Module path -> whether it is stored as ``[in, out]``.
        shard_bytes: Size from which a file is full.
    """
    sizes: dict[Kind, dict[str, int]] = {QUANTIZED: {}, REST: {}}
    for name, tensor in opened.tensors.items():
        path = name.removesuffix(".weight")
        if name.endswith(".weight") and path in specs:
            sizes[QUANTIZED][name] = _code_bytes(specs[path], tensor, transposed[path])
        else:
            sizes[REST][name] = tensor.size
    shards = []
    for kind, own in sizes.items():
        runs = list(_runs(own, shard_bytes))
        for index, names in enumerate(runs):
            file = f"{kind}-{index + 1:05d}-of-{len(runs):05d}.safetensors"
            shards.append(Shard(kind, file, names))
    return shards


def _code_bytes(spec: FormatSpec, tensor: TensorInfo, transposed: bool) -> int:
    """Bytes of the arrays of a layer, before a method changes the rule of its format."""
    shape = tensor.shape[::-1] if transposed else tensor.shape
    arrays = spec.arrays((shape[0], prod(shape[1:])))
    return sum(prod(size) * np.dtype(kind).itemsize for size, kind in arrays.values())


def _runs(sizes: Mapping[str, int], limit: int) -> Iterable[tuple[str, ...]]:
    """Names in their order, a run as long as it takes to reach the limit."""
    run: list[str] = []
    filled = 0
    for name, size in sizes.items():
        run.append(name)
        filled += size
        if filled >= limit:
            yield tuple(run)
            run, filled = [], 0
    if run:
        yield tuple(run)
