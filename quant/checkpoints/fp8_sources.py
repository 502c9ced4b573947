"""Sources in 8-bit floats: DeepSeek's blocks, and one scale for a tensor or for each row."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from quant.checkpoints.codes import (
    E8M0_NAMES,
    F8,
    SCALES,
    Blocks,
    Codes,
    Decoding,
    Parts,
    blocks_of,
    misfit,
    numbers,
    scaled,
)
from quant.checkpoints.shards import ShardedModel
from quant.common.errors import RequestError

if TYPE_CHECKING:
    import torch

ACTIVATIONS = ("activation_scale", "input_scale", "input_scale_ub", "qscale_act")
"""Tensors of a module that say how its inputs are rounded."""
CACHE = (".k_scale", ".v_scale")
"""Tensors that say how keys and values are rounded."""


def fp8_decoding(opened: ShardedModel, stated: Mapping[str, Any]) -> Decoding:
    """Return what the tensors of an fp8 source stand for.

    A tensor of 8-bit floats is multiplied by the scales beside it (``X.weight_scale_inv`` or
    ``X.weight_scale``); what is stored in ordinary floats stays.

    Args:
        opened: The files.
        stated: The ``quantization_config``; ``weight_block_size`` is ``[rows, columns]``.

    Raises:
        RequestError: codes without a scale, or with one of another shape than the blocks have.
    """
    blocks = fp8_blocks(stated)
    powers = stated.get("scale_fmt") == "ue8m0"
    codes = {}
    for name, tensor in opened.tensors.items():
        if tensor.dtype in F8:
            codes[name] = _codes(opened, name, blocks, powers=powers)
    modules = {name.rpartition(".")[0] for name in codes}
    also = {f"{module}.{part}" for module in modules for part in ACTIVATIONS}
    if stated.get("kv_cache_scheme"):
        also |= {name for name in opened.tensors if name.endswith(CACHE)}
    said = "fp8" if blocks is None else f"fp8 in blocks of {blocks.rows}x{blocks.columns}"
    return Decoding(said, codes, frozenset(also & opened.tensors.keys()))


def fp8_blocks(stated: Mapping[str, Any]) -> Blocks | None:
    """Return the blocks that a ``quantization_config`` states; None: it states none.

    Raises:
        RequestError: they are no two whole numbers.
    """
    size = stated.get("weight_block_size")
    if size is None:
        return None
    if (
        not isinstance(size, list | tuple)
        or len(size) != 2
        or not all(isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in size)
    ):
        raise RequestError(
            f"weight_block_size {size!r} of a quantization_config: two whole numbers above 0 are "
            "needed"
        )
    return Blocks(*size)


def _codes(opened: ShardedModel, name: str, stated: Blocks | None, *, powers: bool) -> Codes:
    tensor = opened.tensors[name]
    module = name.removesuffix("weight")
    beside = [f"{name}_scale_inv", f"{name}_scale"]
    if module != name:
        beside += [f"{module}scale", f"{module}qscale_weight"]
    found = [scale for scale in beside if scale in opened.tensors]
    if len(found) != 1:
        has = " and ".join(map(repr, found)) if found else f"no {beside[0]!r}"
        raise RequestError(
            f"{opened.folder / tensor.file}: tensor {name!r} is {tensor.dtype} with {has} beside "
            "it: one scale is needed"
        )
    (scale,) = found
    own = opened.tensors[scale]
    blocks = blocks_of(own, tensor.shape, stated) if len(tensor.shape) > 1 else None
    allowed = SCALES + (E8M0_NAMES if powers else E8M0_NAMES[:1])
    if blocks is None or own.dtype not in allowed:
        misfit(opened, scale, name, tensor.shape)
    decode = partial(_decode, blocks=blocks, powers=powers)
    return Codes({"codes": name, "scales": scale}, tensor.shape, decode)


def _decode(parts: Parts, *, blocks: Blocks, powers: bool) -> torch.Tensor:
    return scaled(parts["codes"].float(), numbers(parts["scales"], powers=powers), blocks)
