"""Sources in MXFP4 as gpt-oss has them: the experts of a layer in one tensor of bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from quant.checkpoints.codes import Codes, Decoding, Parts, fp4_values, misfit, numbers
from quant.checkpoints.shards import ShardedModel
from quant.common.errors import RequestError

if TYPE_CHECKING:
    import torch

BLOCKS, SCALES = "_blocks", "_scales"
BYTES = 16
"""Of a block: 32 codes of four bits."""


def mxfp4_decoding(opened: ShardedModel, stated: Mapping[str, Any]) -> Decoding:
    """Return what the tensors of an MXFP4 source stand for.

    ``X_blocks [experts, out, blocks, 16]`` and ``X_scales [experts, out, blocks]``, bytes both, are
    the parameter ``X [experts, in, out]``. Its values are exact in bfloat16.

    Raises:
        RequestError: one without the other, or of a shape that does not fit.
    """
    del stated  # the tensors alone say it
    names = [name.removesuffix(BLOCKS) for name in opened.tensors if name.endswith(BLOCKS)]
    return Decoding("mxfp4", {name: _codes(opened, name) for name in names})


def _codes(opened: ShardedModel, name: str) -> Codes:
    blocks, scales = name + BLOCKS, name + SCALES
    own = opened.tensors[blocks]
    if scales not in opened.tensors:
        raise RequestError(
            f"{opened.folder / own.file}: tensor {blocks!r} has no {scales!r} beside it"
        )
    other = opened.tensors[scales]
    if own.dtype != "U8" or len(own.shape) != 4 or own.shape[-1] != BYTES:
        misfit(opened, blocks, scales, other.shape)
    if other.dtype != "U8" or other.shape != own.shape[:-1]:
        misfit(opened, scales, blocks, own.shape)
    experts, rows, count, _ = own.shape
    shape = (experts, count * 2 * BYTES, rows)
    return Codes({"codes": blocks, "scales": scales}, shape, _decode, "BF16")


def _decode(parts: Parts) -> torch.Tensor:
    import torch

    experts, rows, count, _ = parts["codes"].shape
    found = torch.empty((experts, count * 2 * BYTES, rows), dtype=torch.bfloat16)
    for index in range(experts):  # one at a time: float32 is twice as wide
        values = fp4_values(parts["codes"][index])
        values *= numbers(parts["scales"][index], powers=True)[..., None]
        found[index] = values.reshape(rows, -1).T
    return found
